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
# Words that may stand for a small number, or for a percentage.
_LOOSE = {
    "no": 0, "none": 0, "nobody": 0, "nil": 0, "neither": 0, "never": 0, "without": 0,
    "all": 100, "a": 1, "an": 1, "once": 1, "single": 1, "only": 1, "sole": 1, "another": 1,
    "first": 1, "both": 2, "twice": 2, "couple": 2, "pair": 2, "second": 2, "thrice": 3,
    "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "dozen": 12, "score": 20, "quarter": 25, "half": 50, "hundred": 100,
}  # fmt: skip
# Function words of other languages, whose numerals are not read.
_FOREIGN = frozenset(
    "der das den dem von und bei ein eine mit de des du le la les et dans chez un une el los "
    "las del y en con di della dei il gli e nel van het een bij och av hos med w z dos com em "
    "ve ile".split()
)
# No `-` in front: in "0.08-0.57" it separates two numbers, and signs are not compared.
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_THOUSANDS = re.compile(
    r"(?<![0-9.,])([0-9]{1,3}(?:([,.'’ \u00a0\u2009\u202f])[0-9]{3})(?:\2[0-9]{3})*)"
    r"([.,][0-9]+)?(?![0-9])"
)
_COMMA = re.compile(r"(?<![0-9,])[0-9]*,(?![0-9]{3}(?![0-9]))[0-9]+|(?<![0-9,])0,[0-9]+")
_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:[eE]|[x×*]\s*10\s*\^?)\s*(-?[0-9]{1,3})\b")
_WORD = re.compile(
    rf"\b(?:({'|'.join(_TENS)})[- ]({'|'.join(_ONES[1:10])})|({'|'.join(_WORDS)}))\b"
)
_HUNDRED = re.compile(
    rf"\b(?:(an?|{'|'.join(_ONES[1:])})[- ])?hundred"
    rf"(?:[- ](?:and[- ])?(?:({'|'.join(_TENS)})(?:[- ]({'|'.join(_ONES[1:10])}))?"
    rf"|({'|'.join(_ONES[1:])})))?\b"
)
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_HYPHENS = str.maketrans("‐‑–−", "----")


def folded(text: str) -> str:
    """Runs of white space as one space."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Lower case without accents and punctuation, for comparing names and titles."""
    bare = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return " ".join(re.findall(r"[a-z0-9]+", "".join(c for c in bare if c.isascii())))


def numbers_in(text: str) -> frozenset[float]:
    """Absolute values of all numbers of a text, in every reading that it allows.

    Digits of any script (.05, 0·05, 0,05; 1,234, 1.234 and 1 234 as thousands too), powers of
    ten (3.2 x 10^-4) and English words to 1999.
    """
    spelled = _SUPERSCRIPT.sub(lambda m: "10^" + m[1].translate(_POWERS), text)
    spelled = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in spelled
    )
    spelled = spelled.replace("·", ".").translate(_HYPHENS)
    found = {float(match) for match in _DIGITS.findall(spelled)}
    for whole, _, rest in _THOUSANDS.findall(spelled):
        joined = "".join(re.findall("[0-9]", whole))
        found |= {float(joined), float(joined + rest.replace(",", "."))}
    found |= {float(match.replace(",", ".")) for match in _COMMA.findall(spelled)}
    found |= {float(f"{number}e{power}") for number, power in _POWER.findall(spelled)}
    words = spelled.casefold()
    for tens, ones, single in _WORD.findall(words):
        found.add(float(_WORDS[tens] + _WORDS[ones] if tens else _WORDS[single]))
    for many, tens, ones, few in _HUNDRED.findall(words):
        rest_ = sum(_WORDS[word] for word in (tens, ones, few) if word)
        found.add(float(100 * _WORDS.get(many, 1) + rest_))
    return frozenset(found)


def perhaps_in(text: str) -> frozenset[float]:
    """Numbers that words of a text may stand for: none, a, both, the third, half (50)."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    found = {float(_LOOSE[word]) for word in words if word in _LOOSE}
    return frozenset(found | ({50.0} if "½" in text else set()))


def is_foreign(text: str) -> bool:
    """Whether a text has words of another language than English, or of another script."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    strange = any("LATIN" not in unicodedata.name(c, "LATIN") for word in words for c in word)
    return strange or sum(word in _FOREIGN for word in words) > (len(words) > 3)


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
