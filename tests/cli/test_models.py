"""`models`: what the site says of its models, made fit for a terminal."""

import json

from tests.cli.conftest import Invoke
from tests.cli.fake_management import FakeManagement

from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import SiteError

ODD = "qwen\x1b[2J\x07\u202e"
LONG = "qwen-" + "long" * 30


def test_control_characters_of_the_site_do_not_reach_the_terminal(invoke: Invoke, management: FakeManagement) -> None:
    model = Model(id=ODD, name=ODD, capabilities=(ODD,))
    management.models = Catalog((model,)), SiteError(f"The site said {ODD}.")
    done = invoke("models")
    assert done.exit_code == 1
    assert not {"\x1b", "\x07", "\u202e"} & {*done.output}
    assert "qwen[2J" in done.stdout
    assert "The site said qwen[2J." in done.stderr
    assert json.loads(invoke("models", "--json").stdout)["models"][0]["id"] == ODD


def test_a_long_id_is_folded_and_not_cut(invoke: Invoke, management: FakeManagement) -> None:
    management.models = Catalog((Model(id=LONG, name=LONG), Model(id="b", name="b"))), None
    said = invoke("models").stdout
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said
    assert "".join(line[:40].split("  ")[0].strip() for line in said.splitlines()[2:]).startswith(LONG[:100])
