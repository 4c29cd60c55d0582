"""How the gateway's parts are joined, where that is more than joining."""

from pathlib import Path

from qwen_gateway.app.gateway import gateway
from qwen_gateway.settings import Settings


async def test_a_key_s_seat_outlasts_the_longest_request_with_its_files_on_two_accounts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, queue_timeout=7, upload_timeout=3000, total_timeout=900)
    async with gateway(settings) as (_, service):
        assert service.allowances.seat_seconds > 2 * (7 + 3000 + 7) + 3 * 900
