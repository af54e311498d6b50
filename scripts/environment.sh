# Sourced by the other scripts: gives them a Python environment with everything in it.
#
# Uses the active environment (venv, or conda's but for its base) if there is one, else .venv, which it
# creates with the first Python of 3.13 to 3.10 that it finds. A torch that is there is never replaced.

fail() {
    echo "error: $*" >&2
    exit 1
}

suits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

active="${VIRTUAL_ENV:-}"
[ "${CONDA_DEFAULT_ENV:-base}" = base ] || active="${active:-${CONDA_PREFIX:-}}"
if [ -z "$active" ]; then
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
            suits "$candidate" && break
            candidate=
        done
        [ -n "$candidate" ] || fail "no Python 3.10 to 3.13 found (Hydra 1.3 fails on Python 3.14); install one and try again"
        echo "creating .venv with $("$candidate" --version)"
        "$candidate" -m venv --clear .venv || fail "cannot create .venv (on Debian and Ubuntu: apt install python3-venv)"
    fi
    source .venv/bin/activate
fi
suits python || fail "got $(python --version) in ${active:-.venv}, expected Python 3.10 to 3.13 (Hydra 1.3 fails on 3.14)"

# Installs again only when the requirements or the environment changed.
stamp="$(python -c 'import sys; print(sys.prefix)')/.nonlocal_video_installed"
wanted="$(cat requirements.txt pyproject.toml) $PWD"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    constraints="$(mktemp)"
    python - >"$constraints" <<'PYTHON'
import importlib.metadata as metadata

for name in ("torch", "torchvision"):
    try:
        print(f"{name}=={metadata.version(name)}")
    except metadata.PackageNotFoundError:
        pass
PYTHON
    echo "installing the requirements ($(tr '\n' ' ' <"$constraints")stays as it is); without a torch this downloads some GB"
    python -m pip install --disable-pip-version-check -e '.[dev]' -c "$constraints" ||
        fail "pip could not install the requirements beside $(tr '\n' ' ' <"$constraints"); see above"
    python -c 'import torchvision' 2>/dev/null ||
        fail "torchvision does not import beside $(tr '\n' ' ' <"$constraints"): install a matching pair (see pytorch.org)," \
            "or deactivate this environment, and the script makes a .venv of its own"
    rm "$constraints"
    printf '%s' "$wanted" >"$stamp"
fi
