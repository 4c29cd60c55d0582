"""What a command prints on standard output is its own: the log of what it uses does not mix with it."""

import pytest
import structlog

from qwen_gateway.cli.managed import quiet_logs


def test_the_log_is_warnings_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    with quiet_logs():
        structlog.get_logger().info("calm")
        structlog.get_logger().warning("stormy")
    said = capsys.readouterr()
    assert said.out == ""
    assert "stormy" in said.err
    assert "calm" not in said.err
    assert structlog.get_config() == before
