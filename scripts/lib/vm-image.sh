# The guest's kernel and initramfs, kept in .cache/vm. Sourced by scripts/vm.
#
# The kernel is Debian's own package, unpacked, not installed. The initramfs holds busybox and just the modules that reach
# the host's files; every other module (wireguard, vxlan, nf_tables ...) is loaded on demand from the unpacked package,
# which the guest sees like any other file of the host.

vm_cache=$PWD/.cache/vm

# What the initramfs must load to see the host's files and to speak to scripts/vm.
vm_boot_modules='virtio_pci virtio_console 9pnet_virtio 9p overlay'

vm_packages=(qemu-system-x86 busybox-static kmod cpio)

# vm_prepare PACKAGE...: makes .cache/vm/{vmlinuz,initramfs,modules} where they are missing or older than their recipe, and
# installs what a guest needs besides. One run of it at a time: those that start together wait for the first.
vm_prepare() {
  if [[ $(uname -m) != x86_64 ]]; then
    say 'error: the guest is built for x86-64 only'
    exit 1
  fi
  mkdir -p "$vm_cache"
  exec 9>"$vm_cache/lock"
  flock 9
  {
    rm -rf "$vm_cache"/{fetch,build}.* # of a run that died
    install_packages "${vm_packages[@]}" "$@"
    # The kernel appears after its modules: what died half way is fetched anew.
    [[ -e $vm_cache/vmlinuz ]] || vm_fetch_kernel
    [[ $vm_cache/initramfs -nt $PWD/scripts/lib/vm-init && $vm_cache/initramfs -nt $PWD/scripts/lib/vm-image.sh ]] ||
      vm_build_initramfs
  } 9>&- # a daemon that a package starts must not keep the lock
  exec 9>&-
}

vm_fetch_kernel() {
  local package
  local work
  work=$(mktemp -d "$vm_cache/fetch.XXXXXX")
  # The metapackage names the version; the `cloud` flavour has no 9p.
  package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }')
  if [[ -z $package ]]; then
    as_root 'reading the package lists'
    apt-get -q update >&2
    package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }')
  fi
  say "fetching the guest's kernel: $package"
  (cd "$work" && chmod 755 . && apt download "$package")
  dpkg -x "$work"/linux-image-*.deb "$work/root"
  local version
  version=$(basename "$work"/root/lib/modules/*)
  depmod -b "$work/root" "$version"
  rm -rf "$vm_cache/modules"
  mv "$work/root/lib/modules" "$vm_cache/modules"
  mv "$work/root/boot/vmlinuz-$version" "$vm_cache/vmlinuz"
  rm -rf "$work"
}

vm_build_initramfs() {
  local work
  local version
  local order=0
  local module
  version=$(basename "$vm_cache"/modules/*)
  work=$(mktemp -d "$vm_cache/build.XXXXXX")
  mkdir -p "$work"/{bin,modules,proc,sys,dev,host,new}
  cp /bin/busybox "$work/bin/busybox"
  cp scripts/lib/vm-init "$work/init"
  chmod 755 "$work/init"
  # modprobe looks for lib/modules below a root.
  mkdir -p "$work/lookup/lib"
  ln -s "$vm_cache/modules" "$work/lookup/lib/modules"
  for module in $vm_boot_modules; do
    modprobe -d "$work/lookup" -S "$version" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
    order=$((order + 1))
    cp "$module" "$work/modules/$(printf '%02d' "$order")-$(basename "$module")"
  done
  rm -r "$work/lookup"
  (cd "$work" && find . | cpio --quiet -o -H newc) >"$vm_cache/initramfs.new"
  mv "$vm_cache/initramfs.new" "$vm_cache/initramfs"
  rm -rf "$work"
}
