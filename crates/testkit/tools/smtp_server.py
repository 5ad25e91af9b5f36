"""A mail server for tests: smtp_server.py DIRECTORY PORT

Takes mail after STARTTLS and a password only, and writes each into DIRECTORY/mails as JSON.
User names say which mechanism may be used: plain, login; the password of all is s3cret-mail.
"""

import asyncio
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

HOME = pathlib.Path(sys.argv[1])
PORT = int(sys.argv[2])


class Handler:
    """Writes mails, and refuses one recipient."""

    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        Handler.count += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "surrogateescape"),
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "mechanism": session.auth_data.mechanism if session.auth_data else None,
        }
        folder = HOME / "mails"
        folder.mkdir(exist_ok=True)
        file = folder / f"{Handler.count}.tmp"
        file.write_text(json.dumps(mail))
        file.rename(file.with_suffix(".json"))
        return "250 2.0.0 queued"


class Data(LoginPassword):
    """The login and how it came."""


def authenticator(server, session, envelope, mechanism, data):
    good = data.login.decode() == mechanism.lower() and data.password == b"s3cret-mail"
    if good:
        data = Data(data.login, data.password)
    result = AuthResult(success=good, handled=False, auth_data=data)
    if good:
        result.auth_data = type("Auth", (), {"login": data.login, "mechanism": mechanism})()
    return result


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HOME / "server.pem", HOME / "server.key")
    # The mechanism that isn't wanted is not offered.
    excluded = sys.argv[3:]

    def factory():
        return SMTP(
            Handler(),
            hostname="mail.example.com",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticator,
            auth_exclude_mechanism=excluded,
            enable_SMTPUTF8=True,
        )

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", PORT)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
