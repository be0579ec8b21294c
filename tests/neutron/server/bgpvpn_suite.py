"""networking-bgpvpn's own tests of its API and its database, with a driver as the provider.

``python bgpvpn_suite.py DRIVER``: its exit status says whether all of them passed.
"""

from __future__ import annotations

import os
import sys
import unittest
import warnings

DRIVER = sys.argv[1] if len(sys.argv) > 1 else ""
# The base of Neutron's tests names no plugin that could tell agents anything; ML2 does.
CORE_PLUGIN = "neutron.plugins.ml2.plugin.Ml2Plugin"


def suite() -> unittest.TestSuite:
    """The tests of the service plugin and of the database layer."""
    from networking_bgpvpn.tests.unit.db import test_db  # noqa: PLC0415 -- after the warnings are silenced
    from networking_bgpvpn.tests.unit.services import test_plugin  # noqa: PLC0415

    mixin = test_plugin.BgpvpnTestCaseMixin
    original = mixin.setUp

    def set_up(self: unittest.TestCase, service_provider: str | None = None, core_plugin: str | None = None) -> None:
        # A driver that a test brings along is what that test is about; all others get the one that is tried here.
        original(self, service_provider or DRIVER, core_plugin or CORE_PLUGIN)

    mixin.setUp = set_up
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    # The other class of the first module looks inside the driver that it names itself.
    return unittest.TestSuite([load(test_plugin.TestBGPVPNServicePlugin), load(test_db.BgpvpnDBTestCase)])


def main() -> None:
    """Run them."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("OS_LOG_CAPTURE", "1")
    ran = unittest.TextTestRunner(verbosity=1).run(suite())
    print(f"{ran.testsRun} tests", flush=True)
    sys.exit(0 if ran.wasSuccessful() and ran.testsRun > 30 else 1)


if __name__ == "__main__":
    main()
