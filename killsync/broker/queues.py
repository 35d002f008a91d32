"""The queues of the pipeline, and the priorities of a message in them."""

ENQUEUE = "esi_enqueue_queue"
USER_KILLMAILS = "esi_user_killmails_queue"
KILLMAIL_DETAILS = "esi_killmail_details_queue"
ENRICHMENT = "esi_enrichment_queue"
NOTIFICATIONS = "notifications_queue"
QUEUES = (ENQUEUE, USER_KILLMAILS, KILLMAIL_DETAILS, ENRICHMENT, NOTIFICATIONS)

#: A message waits in the broker for this long at most, seconds. RabbitMQ closes the channel of a worker that holds a
#: message for longer than its consumer timeout, 30 minutes by default; what is further away is left to the database.
MOST_DELAY_SECONDS = 600.0

#: RabbitMQ priorities of the sync queue: a person waits for a manual sync, nobody for a routine poll.
ROUTINE, PRIORITY, PERSON = 0, 1, 2
#: Of the messages that a worker has taken, those of such actors come first (Dramatiq: lower is sooner): they are few and
#: short, and what just happened is told before more history is fetched.
AT_ONCE = -1
