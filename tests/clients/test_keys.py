"""The official SDKs with a key of ours as their api_key, each in its own header, against a service that wants one."""

import openai
import pytest

from tests.lazily import anthropic
from tests.service.auth.test_keys_in_force import a_house


async def test_both_sdks_are_let_in_and_told_in_their_own_errors_why_not(tmp_path):
    async with a_house(tmp_path) as house:
        key_id, headers = await house.key("sdk", routes=["chat"])
        secret = headers["authorization"].removeprefix("Bearer ")
        url = str(house.client.base_url)
        said = [{"role": "user", "content": "hello"}]
        async with (
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0) as chat,
            anthropic.AsyncAnthropic(base_url=url, api_key=secret, max_retries=0) as messages,
        ):
            answered = await chat.chat.completions.create(model="chat", messages=said, max_tokens=9)
            assert answered.choices[0].message.content == "ok"
            answered = await messages.messages.create(model="chat", messages=said, max_tokens=9)
            assert answered.content[0].text == "ok"
            assert [model.id async for model in chat.models.list()] == ["chat"]
            with pytest.raises(openai.PermissionDeniedError, match="may not ask for 'up:m'"):
                await chat.chat.completions.create(model="up:m", messages=said, max_tokens=9)
            with pytest.raises(anthropic.PermissionDeniedError, match="may not ask for 'up:m'"):
                await messages.messages.create(model="up:m", messages=said, max_tokens=9)
            await house.client.delete(f"/keys/{key_id}", headers=house.admin)
            with pytest.raises(openai.AuthenticationError, match="was revoked"):
                await chat.chat.completions.create(model="chat", messages=said, max_tokens=9)
            with pytest.raises(anthropic.AuthenticationError, match="was revoked"):
                await messages.messages.create(model="chat", messages=said, max_tokens=9)
