"""How long before its instant a job asks for its slot and connects."""

import zlib

# Seconds before the instant at which a job asks for its slot and, if there are many jobs, arms its request: time for
# the commit, DNS and TLS. The job's name picks one. So a thousand jobs of one minute do not connect all at once (Node
# queues 511 connections) nor one by one (which takes a tenth more processor time), nor on a whole second, when other
# jobs fire. If there are few jobs, each connects as late as it can (`Endpoint.lead`): a server that handles one
# connection at a time can do nothing else until the request comes.
LEADS = (1.2, 1.4, 1.6, 1.8)
ARMED_BY = 0.01  # seconds before the instant when arming must be over
ARMED_BY_IN_A_CROWD = 0.1  # seconds: a thousand processes also read their grants


def lead(job: str) -> float:
    return LEADS[zlib.crc32(job.encode()) % len(LEADS)]
