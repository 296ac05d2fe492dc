"""No token and no password is at rest anywhere, nor in a log."""

from tests.adversarial.test_canaries import dump
from tests.fixtures.app import Product, product_settings, running_product
from tests.users.mailbox import new_address, token_of

PASSWORDS = ["canary sieben grüne Drachen", "canary zwölf blaue Boote"]


async def _live(product: Product) -> list[str]:
    """Go through an account's life; return every token of its mails."""
    email, stranger = new_address(), product.stranger()
    await stranger.post("/v1/auth/register", json={"email": email, "password": PASSWORDS[0]})
    tokens = [token_of((await product.mails(email))[0])]
    await stranger.post("/v1/auth/forgot-password", json={"email": email})
    tokens.append(token_of((await product.mails(email, at_least=2))[1]))
    await stranger.post("/v1/auth/reset-password", json={"token": tokens[1], "password": "password123"})
    answer = await stranger.post(
        "/v1/auth/reset-password", json={"token": tokens[1], "password": PASSWORDS[1]}
    )
    assert answer.status_code == 204, answer.text
    return tokens


async def test_neither_the_database_nor_the_log_holds_one(database_urls, mails, capfd):
    settings = product_settings(database_urls, mail=mails)
    debug = settings.telemetry.model_copy(update={"log_level": "DEBUG"})
    async with running_product(database_urls, settings.model_copy(update={"telemetry": debug})) as product:
        tokens = await _live(product)
        rows = await dump(product)
    logged = "".join(capfd.readouterr())
    assert "fanfold" in logged
    for canary in [*tokens, *PASSWORDS]:
        assert canary not in rows
        assert canary not in logged
        assert canary.encode().hex() not in rows
