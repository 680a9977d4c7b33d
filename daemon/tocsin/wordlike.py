"""Tells words from random text, without a list of words."""

import re
from itertools import pairwise

# How much more often the second letter (column) follows the first (row) in words than by chance: round(1.5 ln) + 6.
# Computed from Debian's wamerican and wngerman, and from the identifiers of Python's library.
_AFTER = {
    first: {chr(ord("a") + index): (int(digit) - 6) / 1.5 for index, digit in enumerate(row)}
    for first, row in zip(
        "abcdefghijklmnopqrstuvwxyz",
        """
        16762463614868060878644353
        86448233752833730764712053
        80527118607632821657620040
        74369342831644731674633140
        64685553503668353887344532
        72348732801733831766712051
        73329266701746630775622042
        83239322802555820657604052
        65767560103769751677250305
        90328201704202940453912030
        74349344803736741686615051
        83359331803834740266631071
        86349312802464780264611040
        73788583715435631378542033
        55663453504779660866756332
        82338426702723870866613050
        42130201320424331453923100
        85559453805565740577643052
        63738337704554663379624041
        73539327801543730776623054
        66656552603778460887121213
        82109221800232730331431120
        84358427803536731763313320
        74748515802542581458543553
        75657554712677680687435224
        73339223802533620345725046
        """.split(),  # noqa: SIM905 - as a table
        strict=True,
    )
}
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[A-Z]|[0-9]+|[^A-Za-z0-9]+")
_DATE = re.compile(
    r"(?<![A-Za-z0-9])(?:19|20)[0-9]{2}([-_])[01][0-9](?:\1[0-3][0-9](?:T[0-9:._-]+Z?)?)?(?![A-Za-z0-9])"
)
_PLAIN = re.compile(r"(?:[A-Za-z]+|v?[0-9]{1,4})(?:[-_.~](?:[A-Za-z]+|v?[0-9]{1,4}))*")
NEW_WORD = -0.8  # a capital inside a name, as in getServerSideProps; in random text it is every other letter
MIXED = -1.5  # a digit next to a letter, as in v2 and S3Bucket
SEPARATED = 0.3  # a hyphen or underscore, which random text rarely has
LONG_NUMBER = -1.0  # each digit after the eighth (a date has eight)
PIECE = 10  # characters of a part between separators that is judged separately
RANDOM_PIECE = -4.0  # of 230,000 words with ten or more letters, one in 3,500 is below


def wordlike(text: str) -> float:
    """Return a score: above 0 for words, below 0 for random text. Longer texts have larger scores."""
    score, before = 0.0, ""
    for run in _RUNS.findall(text):
        if run.isdigit():
            score += MIXED * before.isalpha() + LONG_NUMBER * max(0, len(run) - 8)
        elif run.isalpha():
            small = run.lower()
            score += sum(_AFTER[one][two] for one, two in pairwise(small))
            score += MIXED * before.isdigit() + NEW_WORD * before.isalpha() * (1 if len(run) > 2 else 2)
        else:
            score += SEPARATED
        before = run
    return score


def is_random(text: str) -> bool:
    """Whether a text of letters, digits, hyphens and underscores is random, or a long part of it."""
    text = _DATE.sub("-", text)
    pieces = (piece for piece in re.split("[-_]+", text) if len(piece) >= PIECE)
    return wordlike(text) < 0 or any(wordlike(piece) < RANDOM_PIECE for piece in pieces)


def is_words(text: str) -> bool:
    """Whether a text, however short, plainly consists of words, numbers and dates, and so is not a secret."""
    if not _PLAIN.fullmatch(_DATE.sub("0", text)):
        return False
    letters = sum(map(str.isalpha, text))
    return letters <= 3 or (not is_random(text) and wordlike(text) >= 0.1 * (letters - 3))
