"""Mail by SMTP over TLS: demanded of every server that is not on this machine."""

import datetime as dt
import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtplib import SMTPException
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fanfold.core.mail_urls import MailUrl, parse_mail_url
from fanfold.mail.smtp import SmtpMailer
from tests.mail.server import post_office
from tests.mail.test_smtp import SENDER, mail


class FarAway(MailUrl):
    """A server on loopback of which a test says that it is not."""

    @property
    def is_loopback(self) -> bool:
        return False


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file


def far(port: int) -> FarAway:
    return FarAway(scheme="smtp", host="127.0.0.1", port=port)


async def test_nothing_is_said_to_a_server_far_away_that_offers_no_tls():
    async with post_office() as post:
        with pytest.raises(SMTPException):
            await SmtpMailer(far(post.port), SENDER).send(mail())
    assert post.envelopes == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate, scheme):
    context, _ = certificate
    tls = {"tls": context} if scheme == "smtps" else {"tls_context": context}
    async with post_office(**tls) as post:
        url = far(post.port) if scheme == "smtp" else parse_mail_url(f"smtps://127.0.0.1:{post.port}")
        with pytest.raises((ssl.SSLError, SMTPException)):
            await SmtpMailer(url, SENDER).send(mail())
    assert post.envelopes == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_mail_travels_over_tls(certificate, scheme, monkeypatch):
    context, file = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    tls = {"tls": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
    async with post_office(**tls) as post:
        url = far(post.port) if scheme == "smtp" else parse_mail_url(f"smtps://127.0.0.1:{post.port}")
        await SmtpMailer(url, SENDER).send(mail())
    assert len(post.envelopes) == 1
