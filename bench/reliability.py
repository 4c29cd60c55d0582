"""`python bench/reliability.py`: how reliably calls are read out of the answers in tests/corpus/toolcalls.

Every answer is played whole, by single characters, and in random cuts. It counts as well read only if it was each time.
The table goes to stdout, and below it every answer that was not as its line expects. Exit status 1 when markup was
shown that belongs to a call, or when a call was delivered that nobody made.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.corpus.toolcalls.player import KINDS, Case, Cut, Outcome, cases, complaints, play, uncut

# Written anew, and wider than what the parser knows: a form that it does not know must not count as clean.
_MARKUP = re.compile(
    r"[\[［【(]{1,2}\s*/?\s*(?:END[\s_-]*)?TOOL[\s_-]*(?:CALL|RESULT)|\[ARG |--- \w{4} (?:result|end of)"
    r"|<+[|/]*\s*(?:tool[\s_-]?(?:call|response)|function|parameter|invoke)s?\b|✿(?:FUNCTION|ARGS|RESULT|RETURN)✿"
    r'|"arguments"\s*:',
    re.IGNORECASE,
)


class Mark(Struct):
    """One answer over all its plays."""

    case: Case
    delivered: bool = True
    repaired: bool = False
    retried: bool = False
    leaked: bool = False
    wrongly: bool = False
    complaint: str = ""


def judged(case: Case, cuts: list[Cut]) -> Mark:
    mark = Mark(case)
    for cut in cuts:
        outcome = play(case, cut)
        found = complaints(case, outcome)
        mark.delivered &= not found
        mark.repaired |= bool(outcome.repaired)
        mark.retried |= bool(outcome.retry)
        mark.leaked |= _leaks(case, outcome)
        mark.wrongly |= _is_wrong(case, outcome)
        mark.complaint = mark.complaint or "; ".join(found)
    return mark


def _leaks(case: Case, outcome: Outcome) -> bool:
    """Whether more markup is shown than the expected text has."""
    shown, expected = (Counter(_MARKUP.findall(text)) for text in (outcome.text, case.expected.text))
    return bool(shown - expected)


def _is_wrong(case: Case, outcome: Outcome) -> bool:
    """Whether a call is delivered that is not expected, or more often, or with other arguments."""
    expected = Counter((name, json.dumps(arguments, sort_keys=True)) for name, arguments in case.expected.calls)
    calls = ((name, json.dumps(json.loads(arguments), sort_keys=True)) for name, arguments in outcome.calls)
    return bool(Counter(calls) - expected)


def random_cut(rng: random.Random) -> Cut:
    """Pieces of 1 to some characters, as long as this cut likes them."""
    longest = rng.choice((2, 4, 12, 40, 200))

    def cut(text: str) -> list[str]:
        pieces, at = [], 0
        while at < len(text):
            end = at + rng.randint(1, longest)
            pieces.append(text[at:end])
            at = end
        return pieces

    return cut


HEAD = ("kind", "answers", "recoverable", "right", "share", "repaired", "retried", "of these due", "leaked", "wrong")


def table(marks: list[Mark]) -> Iterator[str]:
    yield _line(HEAD)
    for kind in (*KINDS, ""):
        mine = [mark for mark in marks if kind in ("", mark.case.kind)]
        whole = [mark for mark in mine if not mark.case.expected.retry]
        right = sum(mark.delivered for mark in whole)
        again = [mark for mark in mine if mark.retried]
        yield _line(
            (
                kind or "all",
                len(mine),
                len(whole),
                right,
                f"{right / len(whole):.1%}" if whole else "-",
                sum(mark.repaired for mark in mine),
                len(again),
                sum(bool(mark.case.expected.retry) for mark in again),
                sum(mark.leaked for mark in mine),
                sum(mark.wrongly for mark in mine),
            )
        )


def _line(cells: tuple[object, ...]) -> str:
    first, *others = map(str, cells)
    return f"{first:<12}" + "".join(f"{cell:>13}" for cell in others)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50, help="random cuts of each answer (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the random cuts (default: 1)")
    parser.add_argument("--kind", choices=KINDS, help="answers of one kind only")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    cuts: list[Cut] = [uncut, list, *(random_cut(rng) for _ in range(chosen.cuts))]
    marks = [judged(case, cuts) for case in cases(*([chosen.kind] if chosen.kind else []))]
    print("\n".join(table(marks)))
    for mark in marks:
        if not mark.delivered:
            print(f"\n{mark.case.id}{' LEAKED' * mark.leaked}{' WRONG' * mark.wrongly}: {mark.complaint}")
    return int(any(mark.leaked or mark.wrongly for mark in marks))


if __name__ == "__main__":
    sys.exit(main())
