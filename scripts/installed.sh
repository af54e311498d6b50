# Sourced by the launchers: takes the active Python environment, or .venv. It installs nothing: many machines may
# start at once.

fail() {
    echo "error: $*" >&2
    exit 1
}

has_packages() {
    python -c 'import importlib.util as i, sys; sys.exit(not all(map(i.find_spec, ("torch", "hydra"))))' 2>/dev/null
}

if ! has_packages; then
    [ -f .venv/bin/activate ] || fail "no Python environment: activate yours, or run bash scripts/quickstart.sh once"
    source .venv/bin/activate
fi
