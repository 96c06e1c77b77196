"""Package.swift, read with regular expressions: targets, folders, dependencies."""
import re
from .source import split


class Target:
    def __init__(self, kind, name, path, dependencies):
        self.kind, self.name, self.path, self.dependencies = kind, name, path, dependencies


def dependency_names(text):
    """The names in a list of dependencies, without packages and conditions."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'package:\s*"[^"]*"|traits:\s*\[[^\]]*\]', "", text)
    return re.findall(r'"([^"]+)"', text)


def targets(text):
    """The targets of a package manifest by name."""
    plain, _ = split(text, True)
    found = {}
    for hit in re.finditer(r"\.(target|executableTarget|testTarget|systemLibrary|macro|plugin)\s*\(", plain):
        depth, end = 0, hit.end() - 1
        for end in range(hit.end() - 1, len(plain)):
            depth += {"(": 1, ")": -1}.get(plain[end], 0)
            if depth == 0:
                break
        body, shape = text[hit.end():end], plain[hit.end():end]
        name = re.match(r'\s*name:\s*"([^"]+)"', body)
        if not name or not re.search(r"^\s*[,\n]|,", shape[name.end():][:4] or ",") and "path" not in shape \
                and hit.group(1) == "target" and not found:
            continue
        # `.target(name: "X")` inside a list of dependencies names a target and does not declare one.
        before = plain[:hit.start()].rstrip()
        inside = before.rfind("dependencies: [") > max(before.rfind("]"), before.rfind("targets: ["))
        if inside:
            continue
        path = re.search(r'\bpath:\s*"([^"]+)"', body)
        folder = "Tests" if hit.group(1) == "testTarget" else "Sources"
        names = []
        list_start = re.search(r"\bdependencies:\s*\[", shape)
        if list_start:
            depth, stop = 0, list_start.end()
            for stop in range(list_start.end() - 1, len(shape)):
                depth += {"[": 1, "]": -1}.get(shape[stop], 0)
                if depth == 0:
                    break
            names = dependency_names(body[list_start.end():stop])
            # `+ name`: a list that several targets share.
            more = re.match(r"\]\s*\+\s*(\w+)", body[stop:])
            shared = more and re.search(r"let %s: \[Target\.Dependency\] =(.*?)\n\n" % more.group(1), text, re.S)
            names += dependency_names(shared.group(1)) if shared else []
        place = path.group(1) if path else f"{folder}/{name.group(1)}"
        found[name.group(1)] = Target(hit.group(1), name.group(1), place, names)
    return found


def owner(targets_by_name, path):
    """The target whose folder holds `path`: the innermost one."""
    best = None
    for target in targets_by_name.values():
        if path.startswith(target.path.rstrip("/") + "/") and (best is None or len(target.path) > len(best.path)):
            best = target
    return best


def closure(targets_by_name, name):
    """Every target and product that `name` needs, directly or not."""
    seen, queue = set(), [name]
    while queue:
        target = targets_by_name.get(queue.pop())
        for dependency in target.dependencies if target else ():
            if dependency not in seen:
                seen.add(dependency)
                queue.append(dependency)
    return seen


def graph(targets_by_name):
    """One line per target: what it imports, dependencies first."""
    height = {}

    def measure(name):
        if name not in height:
            height[name] = 0
            target = targets_by_name.get(name)
            height[name] = 1 + max((measure(d) for d in target.dependencies), default=0) if target else 0
        return height[name]

    for name in targets_by_name:
        measure(name)
    for name, target in sorted(targets_by_name.items(), key=lambda pair: (height[pair[0]], pair[0])):
        yield f"{height[name]} {name} [{target.path}]: {', '.join(sorted(target.dependencies)) or '-'}"
