"""TLS: certificates are checked against the name that was asked for, whatever address it led to."""

import asyncio
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.types import Cause, ErrorCode
from tests.fanout.transports.calling import FixedResolver, eventually, send
from tests.zoo import Zoo

NAME = "api.example.test"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A server's context for NAME, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=public.decode())


@pytest.fixture
async def zoo(contexts):
    async with Zoo(ssl_context=contexts[0]) as zoo:
        yield zoo


async def test_the_name_is_verified_though_an_address_is_dialled(make, zoo, contexts):
    made = make(resolver=FixedResolver(["127.0.0.1"]), ssl_context=contexts[1])
    for _ in range(3):
        assert (await send(made, zoo.url("ok", host=NAME))).status == 200
    assert zoo.connections == 1


@pytest.mark.parametrize("host", ["other.example.test", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_refused(make, zoo, contexts, host):
    made = make(resolver=FixedResolver(["127.0.0.1"]), ssl_context=contexts[1])
    with pytest.raises(CallFailed, match="certificate") as failed:
        await send(made, zoo.url("ok", host=host))
    assert (failed.value.error.code, failed.value.phase) == (ErrorCode.CONNECT, Phase.NOTHING_SENT)
    assert failed.value.error.cause is Cause.TLS
    assert zoo.requests.total() == 0


async def test_a_certificate_of_an_unknown_issuer_is_refused(make, zoo):
    with pytest.raises(CallFailed, match="certificate"):
        await send(make(resolver=FixedResolver(["127.0.0.1"])), zoo.url("ok", host=NAME))


async def test_tls_spoken_to_a_plain_server_fails_like_any_call(make):
    async def plain(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        with pytest.raises(CallFailed) as failed:
            await send(make(), f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (failed.value.error.code, failed.value.phase) == (ErrorCode.CONNECT, Phase.NOTHING_SENT)


async def test_a_handshake_cut_off_leaves_nothing_open(make, zoo, contexts):
    made = make(max_connections=1, resolver=FixedResolver(["127.0.0.1"]), ssl_context=contexts[1])
    for turns in range(40):
        task = asyncio.create_task(send(made, zoo.url("close", host=NAME)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        # It may get the number of the socket that was closed: the loop must hold that for free.
        assert (await send(made, zoo.url("close", host=NAME))).status == 200
    assert made.connections == 0
    await eventually(lambda: zoo.open == 0)
