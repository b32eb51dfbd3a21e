#!/bin/sh
# A vhost with a user for workers, on a node of RabbitMQ 3.10 or later. `lazaret queue declare` then makes the queues.
# Reads the password from the standard input stream: it is in no history and no list of processes.
set -eu
vhost=${1:-uploads} user=${2:-lazaret} queue=${3:-lazaret-events}
rabbitmqctl add_vhost "$vhost" </dev/null
rabbitmqctl add_user "$user"
# Configure, write, read. Dead letters and retries lie in queues whose names begin with that of the queue; the default
# exchange is how Lazaret itself puts work on it.
pattern=$(printf '%s' "$queue" | sed 's/[.[\*^$()+?{|]/\\&/g')
rabbitmqctl set_permissions -p "$vhost" "$user" "^$pattern(\\..*)?\$" "^(amq\\.default|$pattern(\\..*)?)\$" "^$pattern(\\..*)?\$"
