"""`podlake serve`, whose claims of killed processes expire after seconds instead of minutes."""

from datetime import timedelta

from gateway.__main__ import main
from resources.studio import ledger, notifications

ledger.DECIDED_WITHIN = timedelta(seconds=2)
notifications.MAIL_LEASE = timedelta(seconds=3)
main()
