"""`usage`: sums that add up, estimates marked, names for ids, bars that line up."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from tests.cli.conftest import Invoke
from tests.cli.fake_management import DAY, NOW, AccountView, FakeManagement, KeyView, UsageSum

MIDNIGHT = NOW - NOW % DAY
DAYS = [
    UsageSum(name="2027-01-12", requests=10, failed=1, input=1000, output=500, mean_first_event=1.26, mean_added=0.004),
    UsageSum(name="2027-01-14", requests=30, input=3000, output=1500, estimated=2, mean_first_event=0.8),
]


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def test_days_without_requests_are_shown_too_and_the_total_adds_up(invoke: Invoke, management: FakeManagement) -> None:
    management.sums = DAYS
    done = invoke("usage")
    assert (done.exit_code, done.stderr) == (0, "")
    assert management.asked == [("day", MIDNIGHT - 6 * DAY, NOW)]
    lines = [line.split() for line in done.stdout.splitlines() if line[:2] == "20" or line.startswith("total")]
    assert lines == [
        ["2027-01-12", "10", "1", "1,000", "500", "1.3", "s", "4", "ms"],
        ["2027-01-13", "0", "0", "0", "0"],
        ["2027-01-14", "30", "0", "~3,000", "~1,500", "0.8", "s", "0", "ms"],
        ["2027-01-15", "0", "0", "0", "0"],
        ["total", "40", "1", "~4,000", "~2,000"],
    ]
    assert "2 of 40 requests" in done.stdout
    assert "█" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_bars_are_shown_when_wanted(invoke: Invoke, management: FakeManagement) -> None:
    management.sums = DAYS
    lines = invoke("usage", "--chart").stdout.splitlines()
    shown = {line[:10]: line for line in lines if "█" in line}
    assert list(shown) == ["2027-01-12", "2027-01-14"]
    assert shown["2027-01-12"].count("█") * 3 == pytest.approx(shown["2027-01-14"].count("█"), abs=3)
    assert shown["2027-01-12"].index("█") == shown["2027-01-14"].index("█")
    assert "█" not in invoke("usage", "--no-chart").stdout


def test_nothing_is_one_sentence(invoke: Invoke) -> None:
    done = invoke("usage")
    assert (done.exit_code, done.stdout) == (0, "No requests from 2027-01-09 to 2027-01-15 (UTC).\n")
    assert invoke("usage", "--since", "12h").stdout == "No requests since 2027-01-14 20:00 (UTC).\n"
    assert invoke("usage", "--since", "1d").stdout == "No requests on 2027-01-15 (UTC).\n"


@pytest.mark.parametrize(
    ("flags", "since", "until"),
    [
        ((), MIDNIGHT - 6 * DAY, NOW),
        (("--since", "1d"), MIDNIGHT, NOW),
        (("--since", "2w"), MIDNIGHT - 13 * DAY, NOW),
        (("--since", "90m"), NOW - 5400, NOW),
        (("--since", "2026-11-01"), at("2026-11-01"), NOW),
        (("--since", "2026-11-01", "--until", "2026-11-01"), at("2026-11-01"), at("2026-11-02")),
    ],
)
def test_times(flags: tuple[str, ...], since: float, until: float, invoke: Invoke, management: FakeManagement) -> None:
    assert invoke("usage", "--by", "model", *flags).exit_code == 0
    assert management.asked == [("model", since, until)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--since", "yesterday"), "--since: 'yesterday' is neither"),
        (("--until", "7d"), "--until: '7d' is neither"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "is after that of --until"),
        (("--since", "2028-01-01"), "is after that of --until"),
        (("--json", "--csv"), "Give one of them"),
        (("--by", "colour"), "colour"),
    ],
)
def test_flags_that_cannot_be_meant(
    flags: tuple[str, ...], said: str, invoke: Invoke, management: FakeManagement
) -> None:
    done = invoke("usage", *flags)
    assert (done.exit_code, done.stdout, management.asked) == (2, "", [])
    assert said in done.stderr


def test_keys_and_accounts_have_their_names(invoke: Invoke, management: FakeManagement) -> None:
    management.all_keys = [KeyView(id="a", name="laptop")]
    management.all = [AccountView(id="a", name="main")]
    management.sums = [UsageSum(name="a", requests=2), UsageSum(name="gone", requests=1), UsageSum(name="", requests=1)]
    for by, first, last in (("key", "laptop", "(no key)"), ("account", "main", "(no account)")):
        said = invoke("usage", "--by", by).stdout
        assert [line for line in said.splitlines() if line.startswith((first, "gone", last))] != []
        shown = json.loads(invoke("usage", "--by", by, "--json").stdout)
        assert [(row["name"], row["label"]) for row in shown["rows"]] == [("a", first), ("gone", "gone"), ("", last)]
        assert shown["total"]["requests"] == 4


def test_a_spreadsheet_finds_no_formulas(invoke: Invoke, management: FakeManagement) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", 'a,"b"\x1b']
    management.all_keys = [KeyView(id=str(number), name=name) for number, name in enumerate(names)]
    management.sums = [UsageSum(name=str(number), requests=1, input=5) for number in range(len(names))]
    head, *rows = csv.reader(io.StringIO(invoke("usage", "--by", "key", "--csv").stdout))
    assert head[:4] == ["id", "name", "requests", "failed"]
    assert [row[1] for row in rows] == ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "' =1", 'a,"b"']
    assert all(len(row) == len(head) for row in rows)


def test_csv_of_nothing_has_its_head_only(invoke: Invoke) -> None:
    assert invoke("usage", "--csv").stdout.startswith("day,name,requests,failed,input,output,")
