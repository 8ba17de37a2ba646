# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the S3 servers have in common: keys, the bucket, and how one sees that objects can be stored.
# Sourced after server.sh.
s3_access_key=lathe
s3_secret_key=lathe-secret-key
s3_bucket=videos

s3_curl() {
    curl -sf --max-time 10 --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$s3_access_key:$s3_secret_key" "$@"
}

# In the form of ~/.aws/credentials, for its owner alone.
s3_write_credentials() ( # FILE
    umask 077
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$s3_access_key" \
        "$s3_secret_key" >"$1"
)

s3_hash() { printf 'x-amz-content-sha256: %s' "$(printf %s "$1" | sha256sum | cut -d' ' -f1)"; }

# The bucket is there, and takes, gives and forgets an object. A server that was killed lists long
# before it finds objects again.
s3_serves() { # PORT
    local url=http://127.0.0.1:$1/$s3_bucket status
    status=$(s3_curl -o /dev/null -w '%{http_code}' -X PUT -H "$(s3_hash '')" "$url")
    [ "$status" = 200 ] || [ "$status" = 409 ] || return
    s3_curl -o /dev/null -X PUT -H "$(s3_hash ready)" --data-binary ready "$url/.ready" &&
        [ "$(s3_curl -H "$(s3_hash '')" "$url/.ready")" = ready ] &&
        s3_curl -o /dev/null -X DELETE -H "$(s3_hash '')" "$url/.ready"
}

# A server that has to be built first. Sets s3_program to where it is.
s3_find_program() { # NAME GO_PACKAGE
    s3_program=$(command -v "$1" || echo "$server_cache/go-bin/$1")
    [ -x "$s3_program" ] && return
    echo "cluster: there is no $1; build it: GOBIN=$server_cache/go-bin go install $2" >&2
    return 1
}
