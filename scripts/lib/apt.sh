# Debian packages: install what is missing, and only then touch the network. Sourced by the scripts.

# say TEXT: one calm progress line, out of the way of what a command prints on stdout.
say() { printf '%s\n' "$*" >&2; }

# missing PACKAGE...: prints those that are not installed.
missing() {
  local package
  local installed
  installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' "$@" 2>/dev/null | tr '\n' ' ') "
  for package in "$@"; do
    [[ $installed == *" ii $package "* || $installed == *"ii $package "* ]] || printf '%s ' "$package"
  done
}

# as_root REASON: stops where we may not install.
as_root() {
  [[ $(id -u) == 0 ]] && return
  say "error: $1: only root can do that (run this as root)"
  exit 5
}

# apt ARGUMENT...: apt-get without questions; refreshes the package lists once where they are missing or stale.
apt() {
  local log
  log=$(mktemp)
  if DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -q -y "$@" >"$log" 2>&1 ||
    { apt-get -o DPkg::Lock::Timeout=120 -q update >>"$log" 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -q -y "$@" >>"$log" 2>&1; }; then
    rm -f "$log"
  else
    tail -n 20 "$log" >&2
    rm -f "$log"
    say "error: apt-get $* failed"
    return 1
  fi
}

# install_packages PACKAGE...: those that are missing; --no-install-recommends, since wireguard-tools recommends a kernel.
install_packages() {
  local wanted
  wanted=$(missing "$@")
  [[ -z $wanted ]] && return
  as_root "installing $wanted"
  say "installing Debian packages: $wanted"
  # shellcheck disable=SC2086
  apt install --no-install-recommends $wanted
}
