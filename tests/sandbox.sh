# shellcheck shell=bash
# sandbox.sh - sourced by the runners: an environment that is the same on every machine.
#
# No proxies, no credentials, no settings of the person who runs the tests.  `sandbox_root` makes the folder
# of this run, $sandbox_root, which is gone at the end; `sandbox DIR` moves home, XDG and temporary folders into DIR.
export LC_ALL=C.UTF-8 TZ=UTC TERM=dumb
for name in $(compgen -e); do
    case $name in
    PERIGEE_SPEC_LIMIT) ;;
    *_proxy | *_PROXY | DEAI_* | SXWL_* | PERIGEE_* | LUA_PATH* | LUA_CPATH* | LUA_INIT* | CURL_CA_BUNDLE | SSL_CERT_*)
        unset "$name"
        ;;
    esac
done
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-suppressions=$PWD/tests/tsan.supp}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

sandbox_root() {
    sandbox_root=$(mktemp -d "${TMPDIR:-/tmp}/perigee-tests.XXXXXX") || exit 1
    trap 'rm -rf "$sandbox_root"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

sandbox() {
    mkdir -p "$1"/{home,tmp,config,state,cache,data,runtime}
    chmod 700 "$1/runtime"
    export HOME=$1/home TMPDIR=$1/tmp XDG_CONFIG_HOME=$1/config XDG_STATE_HOME=$1/state XDG_CACHE_HOME=$1/cache \
        XDG_DATA_HOME=$1/data XDG_RUNTIME_DIR=$1/runtime
}
