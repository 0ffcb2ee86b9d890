#!/bin/sh
# LocalStack runs what lies in /etc/localstack/init/ready.d each time it has started. This loads the
# versions that PODSYNC_LOAD names into it, once for each start.
exec podsync run-hook ready
