"""POP3 as a client sees it where the policy of the whole server counts."""

import poplib

from maildrop import open_maildrop
from server import USER, Server, run

OTHER = "v@local.test"


def expiry(pop):
    return pop.capa()["EXPIRE"]


def test_EXPIRE_tells_what_retention_does(folder):
    with Server(folder + "/data", "--set", "retention.days=30", accounts=(USER, OTHER)) as server:
        def keep(days):
            result = run("account", "retention", USER, "--days", days, "--data", server.data)
            assert result.returncode == 0, result

        def stranger():
            pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
            try:
                return expiry(pop)
            finally:
                pop.quit()

        def owner(address):
            pop = open_maildrop(server, address)
            try:
                return expiry(pop)
            finally:
                pop.quit()

        assert (stranger(), owner(USER)) == (["30"], ["30"])
        keep("7")
        assert (stranger(), owner(USER), owner(OTHER)) == (["7", "USER"], ["7"], ["30"])
        keep("none")
        assert (stranger(), owner(USER), owner(OTHER)) == (["30", "USER"], ["NEVER"], ["30"])
        keep("default")
        assert (stranger(), owner(USER)) == (["30"], ["30"])
