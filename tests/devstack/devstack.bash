# What devstack offers a plugin, as far as ours uses it: the same arguments, effects and answers.
#
# Functions that write files do so. Those that would touch the system write what they were told to $CALLS, a line each.

calls() { printf '%s\n' "$*" >>"$CALLS"; }

trueorfalse() { # default, name of a variable
    case "${!2:-$1}" in
        1 | [Yy]es | [Yy] | [Tt]rue | TRUE) echo True ;;
        0 | [Nn]o | [Nn] | [Ff]alse | FALSE) echo False ;;
        *) echo "$1" ;;
    esac
}

die() { # line number, message
    echo "[ERROR] $2" >&2
    exit 1
}

echo_summary() { echo "$*"; }
is_ubuntu() { [[ "${DISTRIBUTION:-ubuntu}" == ubuntu ]]; }
get_python_exec_prefix() { echo "${BIN:-/opt/stack/data/venv/bin}"; }

is_service_enabled() { # any of these
    local name
    for name in "$@"; do
        [[ ",$ENABLED_SERVICES," == *",$name,"* ]] && return 0
    done
    return 1
}

enable_service() {
    local name
    for name in "$@"; do
        [[ ",${DISABLED_SERVICES:-}," == *",$name,"* ]] && continue
        is_service_enabled "$name" || ENABLED_SERVICES+=",$name"
    done
}

disable_service() {
    local name
    for name in "$@"; do
        ENABLED_SERVICES=$(tr , '\n' <<<"$ENABLED_SERVICES" | grep -vx -- "$name" | paste -sd,)
        DISABLED_SERVICES+=",$name"
    done
}

iniset() { # file section option value: replaced where it stands, else added below the section, which is made if need be
    local file=$1 section=$2 option=$3 value=$4
    [[ -n "$section" && -n "$option" ]] || return 0
    grep -q "^\[$section\]" "$file" 2>/dev/null || printf '\n[%s]\n' "$section" >>"$file"
    SECTION="[$section]" OPTION=$option VALUE=$value awk '
        /^\[/ { inside = (index($0, ENVIRON["SECTION"]) == 1) }
        inside && $0 ~ "^" ENVIRON["OPTION"] "[ \t]*=" { found = 1; $0 = ENVIRON["OPTION"] " = " ENVIRON["VALUE"] }
        { line[NR] = $0; if (inside && /^\[/ && !heading) heading = NR }
        END {
            for (n = 1; n <= NR; n++) {
                print line[n]
                if (n == heading && !found) print ENVIRON["OPTION"] " = " ENVIRON["VALUE"]
            }
        }' "$file" >"$file.new"
    cat "$file.new" >"$file"
    rm "$file.new"
}

iniget() { # file section option
    SECTION="[$2]" OPTION=$3 awk '
        /^\[/ { inside = (index($0, ENVIRON["SECTION"]) == 1) }
        inside && $0 ~ "^" ENVIRON["OPTION"] "[ \t]*=" { sub(/^[^=]*=[ \t]*/, ""); print }' "$1"
}

pip_install() { calls pip_install "$@"; }
install_package() { calls install_package "$@"; }
stop_service() { calls stop_service "$@"; }
wait_for_service() { calls wait_for_service "$@" && return "${UNANSWERED:-0}"; }

run_process() { # service, command, group, user; only what is enabled runs
    if is_service_enabled "$1"; then
        calls "run_process $1 as ${4:-$STACK_USER}: $2"
    fi
}

stop_process() {
    if is_service_enabled "$1"; then
        calls stop_process "$1"
    fi
}

# Every command that changes the system has to come by here.
sudo() { PRIVILEGED=1 "$@"; }
