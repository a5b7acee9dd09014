"""Makes requested podcasts again and again, until the process is killed. Another attempt begins a second after a failed one."""

import time
from datetime import timedelta

from dagster_project import attempts, podcasts
from dagster_project.build_resources import build_resources
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from resources.studio import claims

attempts.RETRY_AFTER = timedelta(seconds=1)
claims.CLAIM_LASTS = timedelta(seconds=5)  # this process is the only one that claims
settings = Settings()
given = build_resources(settings)
with open_instance(settings) as instance:
    while True:
        podcasts.run_due(instance, given)
        time.sleep(0.2)
