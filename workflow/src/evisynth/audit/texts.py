"""What texts say: numbers in them, written as digits or as words, and how similar two are."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence, Set

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
# No `-` in front: in "0.08-0.57" it separates two numbers, and signs are not compared.
_DIGITS = re.compile(r"[0-9]+(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_WORD = re.compile(
    rf"\b(?:({'|'.join(_TENS)})[- ]({'|'.join(_ONES[1:10])})|({'|'.join(_WORDS)}))\b"
)
_HYPHENS = str.maketrans("‐‑–−", "----")


def folded(text: str) -> str:
    """Runs of white space as one space."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Lower case without accents and punctuation, for comparing names and titles."""
    bare = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return " ".join(re.findall(r"[a-z0-9]+", "".join(c for c in bare if c.isascii())))


def numbers_in(text: str) -> frozenset[float]:
    """Absolute values of all numbers of a text: digits (.05, 0·05, 1,234) and words to 99."""
    spelled = text.replace("·", ".").translate(_HYPHENS)
    found = {value for match in _DIGITS.findall(spelled) for value in _values(match)}
    for tens, ones, single in _WORD.findall(spelled.casefold()):
        found.add(float(_WORDS[tens] + _WORDS[ones] if tens else _WORDS[single]))
    return frozenset(found)


def _values(match: str) -> Iterator[float]:
    """A comma may separate thousands or list two numbers: both readings count."""
    yield float(match.replace(",", ""))
    if "," in match:
        yield from (float(part) for part in match.split(","))


def number_said(word: str) -> float:
    """Value of a number that is written as digits or as a word.

    Raises
    ------
    ValueError
        If it is neither.
    """
    spelled = _WORDS.get(word.casefold())
    return float(word) if spelled is None else float(spelled)


def trigrams(text: str) -> frozenset[tuple[str, int]]:
    """Runs of three characters of the plain form of a text, each with its number of repeats."""
    bare = f" {plain(text)} "
    seen: Counter[str] = Counter()
    found = set()
    for i in range(len(bare) - 2):
        gram = bare[i : i + 3]
        seen[gram] += 1
        found.add((gram, seen[gram]))
    return frozenset(found)


def similarity(one: str, two: str) -> float:
    """Dice's coefficient of the trigrams of two texts, 0 to 1; 0 if both are empty."""
    return _dice(trigrams(one), trigrams(two))


def _dice(one: Set[object], two: Set[object]) -> float:
    sizes = len(one) + len(two)
    return 2 * len(one & two) / sizes if sizes else 0.0


def similar_pairs(texts: Sequence[str], least: float) -> Iterator[tuple[int, int, float]]:
    """Indices and similarity of all pairs of texts that are at least `least` similar.

    Sets with a coefficient of `least` share at least ``least / (2 - least)`` of the larger;
    so among the rarest elements of each, as many as may be missing and one more, there is one
    in common, and only such pairs are compared.
    """
    bags = [trigrams(text) for text in texts]
    spread = Counter(gram for bag in bags for gram in bag)
    keep = least / (2 - least)
    seen: dict[tuple[str, int], list[int]] = {}
    for i, bag in enumerate(bags):
        rarest = sorted(bag, key=lambda gram: (spread[gram], gram))
        prefix = rarest[: len(rarest) - math.ceil(keep * len(rarest) - 1e-9) + 1]
        for j in sorted({j for gram in prefix for j in seen.get(gram, ())}):
            alike = _dice(bag, bags[j])
            if alike >= least:
                yield j, i, alike
        for gram in prefix:
            seen.setdefault(gram, []).append(i)
