# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Kafka 4.3.1, one node (KRaft), from Maven's registry; Java from Debian. Sourced after server.sh,
# which says what the functions promise.
kafka_home=$server_cache/kafka-4.3.1
kafka_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

kafka_install() {
    server_packages "java mvn" "maven openjdk-17-jre-headless" || return
    [ -f "$kafka_home/complete" ] && return
    mkdir -p "$kafka_home" || return
    cat >"$kafka_home/pom.xml" <<'POM'
<project><modelVersion>4.0.0</modelVersion>
  <groupId>lathe.test</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies></project>
POM
    mvn -B -q -Dstyle.color=never -f "$kafka_home/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$kafka_home/libs" -DincludeScope=runtime >&2 &&
        touch "$kafka_home/complete"
}

# Sets kafka_java: the command line up to the class. A small heap and one compiler, since two cores
# are shared with what is tested.
kafka_set_java() { # DIR
    kafka_java=(java -Xms128m -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
        "-Dlog4j2.configurationFile=$1/log4j2.properties" -cp "$kafka_home/libs/*")
}

kafka_write_log_settings() { # FILE
    cat >"$1" <<'LOG'
rootLogger.level=warn
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m%n
logger.server.name=org.apache.kafka.server
logger.server.level=info
LOG
}

# Lines of DIR/listener replace PLAINTEXT for clients, e.g. with TLS. The last three: a broker that
# was killed may come back after 2 seconds, and the cleaner's buffer fits the heap.
kafka_write_settings() { # DIR PORT CONTROLLER_PORT
    cat >"$1/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=CLIENT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=CLIENT://127.0.0.1:$2
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs=$1/data
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
CONF
    if [ -f "$1/listener" ]; then
        cat "$1/listener" >>"$1/server.properties"
    else
        echo "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT" \
            >>"$1/server.properties"
    fi
}

kafka_start() {
    local port controller
    mkdir -p "$1/data" && port=$(server_port "$1" port "${2:-}") &&
        controller=$(server_port "$1" controller_port) || return
    server_lives "$1" && return
    kafka_set_java "$1"
    kafka_write_log_settings "$1/log4j2.properties"
    kafka_write_settings "$1" "$port" "$controller"
    [ -f "$1/data/meta.properties" ] ||
        "${kafka_java[@]}" kafka.tools.StorageTool format --cluster-id lathetestclusterid0001 \
            --config "$1/server.properties" >"$1/format.log" 2>&1 || return
    : >"$1/log"
    server_launch "$1" "${kafka_java[@]}" kafka.Kafka "$1/server.properties"
    server_await "$1" 60 grep -q 'Transitioning from RECOVERY to RUNNING' "$1/log"
}

kafka_stop() { server_stop "$@"; }

kafka_make_topics() { # DIR PARTITIONS [PREFIX]: those of Lathe; it is fine when they are there
    python3 "$kafka_here/kafka_topics.py" "$(<"$1/port")" "$2" "${3:-}video-jobs" \
        "${3:-}video-chunks" "${3:-}video-chunks.dlq"
}
