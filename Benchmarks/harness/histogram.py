"""Latencies in buckets of a high dynamic range histogram: two significant digits from a tenth of a microsecond up."""

SUB = 64  # buckets from one power of two to the next: a bucket is at most 1.6 % wide
PERCENTILES = (50, 90, 99, 99.9)


class Histogram:
    def __init__(self, counts=None):
        self.counts = {int(place): count for place, count in (counts or {}).items()}

    @staticmethod
    def place(microseconds):
        tenths = max(int(microseconds * 10), 0)
        if tenths < 2 * SUB:
            return tenths
        shift = tenths.bit_length() - SUB.bit_length()
        return shift * SUB + (tenths >> shift)

    @staticmethod
    def value(place):
        """The middle of a bucket, in microseconds."""
        if place < 2 * SUB:
            return place / 10
        shift = place // SUB - 1
        return ((place - shift * SUB << shift) + (1 << shift) / 2) / 10

    def add(self, microseconds):
        place = self.place(microseconds)
        self.counts[place] = self.counts.get(place, 0) + 1

    def merge(self, other):
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count

    @property
    def total(self):
        return sum(self.counts.values())

    def percentile(self, percent):
        """The least value below or at which so many lie."""
        wanted, seen = self.total * percent / 100, 0
        for place in sorted(self.counts):
            seen += self.counts[place]
            if seen >= wanted:
                return self.value(place)
        return 0.0

    @property
    def maximum(self):
        return self.value(max(self.counts)) if self.counts else 0.0

    def curve(self, points=120):
        """(nines, microseconds) from the middle to the last value, for the usual picture with one axis in nines."""
        result, seen, total = [], 0, self.total
        for place in sorted(self.counts):
            seen += self.counts[place]
            result.append((1 - (seen - self.counts[place] / 2) / total, self.value(place)))
        step = max(1, len(result) // points)
        return result[::step] + result[-1:]


def of(values):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram
