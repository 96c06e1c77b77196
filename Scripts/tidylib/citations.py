"""The protocol documents of docs/spec: which sections and numbered items they have, and what a citation names."""
import re

DOCUMENTS = ("dht-rpc", "file-transfer", "hyperdht", "hyperdht-extensions", "hyperswarm", "secret-stream", "udx")
NAMES = "|".join(DOCUMENTS)

# What may stand behind "<document>.md ": 2.5, A-4, D.1, C-13, OBS-9, Annex A, Part C, item 85; a row, item or step.
REFERENCE = (r"(?:OBS-\d+|(?:Annex|[Pp]art) [A-E]\b|items? \d+|[A-E][-.]\d+|\d+(?:\.\d+)*"
             r"(?:,? (?:row|item|step)s? \d+)?)(?![\w])")
# More of the same document: "12.1, 12.4 and C-14", "34 to 37".
CITATION = re.compile(rf"\b({NAMES})\.md`? ({REFERENCE}(?:(?:, and |, | and | or | to |-)(?:{REFERENCE}))*)")
# Ids that exist in one document only and may stand alone.
IDS = re.compile(r"(?<![\w-])(OBS|UDX|RPC)-(\d+)(?![\w.-])")
ID_DOCUMENT = {"OBS": "udx", "UDX": "udx", "RPC": "dht-rpc"}

# Forms that do not say which document they mean.
SHORT = re.compile(
    r"(?<![\w.-])(?:spec(?:ification)?,? (?:sections? )?\d+(?:\.\d+)*|§ ?\d+(?:\.\d+)*|[Ss]ections? \d+(?:\.\d+)*"
    r"|[Pp]arts? [A-E](?: \d+|\b(?! \w))|[BCE][- ]?\d{1,2})(?![\w-])")
NOT_OURS = re.compile(r"(RFC ?\d+,?|[Nn]oise specification,?|draft-[\w-]+,?|BBR[\w ]*,?) *$")


class Index:
    """Sections and items of the documents: `sections["udx"]` has "2.5"; `items["udx"]["9"]` has 24."""

    def __init__(self, texts):
        self.sections, self.items = {}, {}
        for document, text in texts.items():
            sections, items, current = set(), {}, ""
            for line in text.split("\n"):
                heading = re.match(r"#+ (?:(?:Part|Annex) ([A-E])\b|([A-E][-.]\d+)|(\d+(?:\.\d+)*))", line)
                if heading:
                    part, letter, number = heading.groups()
                    current = f"Part {part}" if part else letter or number
                    sections.add(current)
                    parent = f"Part {current[0]}" if letter else current
                    current = parent
                row = re.match(r"(?:\s*(\d+)\. |\| (\d+) \||\| ([A-E]|OBS-)(\d+) \|)", line)
                if row and current:
                    number = int(row.group(1) or row.group(2) or row.group(4))
                    items.setdefault(current, set()).add(number)
                    if row.group(3) == "OBS-":
                        items.setdefault("OBS", set()).add(number)
            self.sections[document], self.items[document] = sections, items

    def known(self, document):
        return document in self.sections

    def has(self, document, reference):
        """Whether a reference in the form of `REFERENCE` exists."""
        sections, items = self.sections[document], self.items[document]
        section = {"udx": "9", "hyperswarm": "14", "secret-stream": "16"}.get(document, "Part A")
        checklist = items.get(section, set())
        word = re.fullmatch(r"(?:Annex|[Pp]art) ([A-E])", reference)
        if word:
            return f"Part {word.group(1)}" in sections
        if reference.startswith("OBS-"):
            return int(reference[4:]) in items.get("OBS", set())
        if reference.startswith("item"):
            return int(reference.split()[1]) in checklist
        letter = re.fullmatch(r"([A-E])[-.](\d+)", reference)
        if letter:
            part = items.get(f"Part {letter.group(1)}", set())
            return reference in sections or letter.group(1) != "A" and int(letter.group(2)) in part
        row = re.fullmatch(r"([\d.]+),? (?:row|item|step)s? (\d+)", reference)
        if row:
            return row.group(1) in sections and int(row.group(2)) in items.get(row.group(1), set())
        return reference in sections or reference.isdigit() and int(reference) in checklist

    def problems(self, text):
        """What is cited in `text` and does not exist."""
        for hit in CITATION.finditer(text):
            document = hit.group(1)
            if not self.known(document):
                yield hit.start(), f"docs/spec/{document}.md does not exist"
                continue
            for reference in re.findall(REFERENCE, hit.group(2)):
                if not self.has(document, reference):
                    yield hit.start(), f"{document}.md has no {reference}"
        for hit in IDS.finditer(text):
            kind, number = hit.group(1), int(hit.group(2))
            document = ID_DOCUMENT[kind]
            if not self.known(document):
                continue
            items = self.items[document]
            pool = {"OBS": items.get("OBS"), "UDX": items.get("9"), "RPC": items.get("Part A")}[kind] or set()
            if number not in pool:
                yield hit.start(), f"{document}.md has no {hit.group(0)}"


def short_forms(comment):
    """Citations in a comment line that leave the document open."""
    covered = [hit.span() for hit in CITATION.finditer(comment)]
    for hit in SHORT.finditer(comment):
        if any(a <= hit.start() < b for a, b in covered) or NOT_OURS.search(comment[:hit.start()]):
            continue
        yield hit.start(), hit.group()
