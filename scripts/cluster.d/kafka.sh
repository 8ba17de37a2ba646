# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# A Kafka broker of our own on loopback (KRaft, one node), for tests and for scripts/cluster. Sourced.
# The jars are kept in LATHE_CLUSTER_CACHE between runs.
kafka_cache=${LATHE_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lathe-cluster}/kafka-4.3.1

# kafka_install: Java from Debian, the broker from Maven's registry
kafka_install() {
    command -v java >/dev/null && command -v mvn >/dev/null ||
        apt-get install -qq -y --no-install-recommends maven openjdk-17-jre-headless >/dev/null
    [ -f "$kafka_cache/complete" ] && return 0
    mkdir -p "$kafka_cache"
    cat >"$kafka_cache/pom.xml" <<'POM'
<project><modelVersion>4.0.0</modelVersion>
  <groupId>lathe.test</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies></project>
POM
    mvn -B -q -f "$kafka_cache/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$kafka_cache/libs" -DincludeScope=runtime && touch "$kafka_cache/complete"
}

kafka_java() {
    kafka_dir=$1
    shift
    exec java -Xms128m -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        "-Dlog4j2.configurationFile=$kafka_dir/log4j2.properties" -cp "$kafka_cache/libs/*" "$@"
}

# kafka_start DIR PORT CONTROLLER_PORT: returns when it answers; keeps the data of an earlier start
kafka_start() {
    mkdir -p "$1/data"
    cat >"$1/log4j2.properties" <<'LOG'
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
    cat >"$1/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
CONF
    [ -f "$1/data/meta.properties" ] ||
        (kafka_java "$1" kafka.tools.StorageTool format --cluster-id lathetestclusterid0001 \
            --config "$1/server.properties") >"$1/format.log" 2>&1 || return 1
    (kafka_java "$1" kafka.Kafka "$1/server.properties") >"$1/log" 2>&1 </dev/null &
    echo $! >"$1/pid"
    kafka_tries=0
    until grep -q 'Transitioning from RECOVERY to RUNNING' "$1/log"; do
        kafka_tries=$((kafka_tries + 1))
        if [ $kafka_tries -gt 600 ] || ! kill -0 "$(cat "$1/pid")" 2>/dev/null; then
            echo "kafka: it does not answer; the end of its log:" >&2
            tail -n 5 "$1/log" >&2
            return 1
        fi
        sleep .1
    done
}

# kafka_stop DIR [SIGNAL]
kafka_stop() {
    [ -f "$1/pid" ] || return 0
    kafka_pid=$(cat "$1/pid")
    rm -f "$1/pid"
    kill -s "${2:-TERM}" "$kafka_pid" 2>/dev/null || return 0
    kafka_tries=0
    while kill -0 "$kafka_pid" 2>/dev/null && [ $kafka_tries -lt 200 ]; do
        kafka_tries=$((kafka_tries + 1))
        sleep .05
    done
}
