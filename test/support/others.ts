/** What others have on a host, near to ours and not in our way: lines for a shell. */
export const others = [
  'ip link add name foreign0 type veth peer name foreign1',
  'ip address add 198.18.0.1/24 dev foreign0',
  'ip link set dev foreign0 up',
  'ip link set dev foreign1 up',
  'ip route add 203.0.113.0/24 via 198.18.0.2 table 19600 proto 99',
  'ip route add 203.0.113.0/24 via 198.18.0.2 proto 186',
  'ip rule add priority 19528 fwmark 0x77 lookup 19600',
  'ip nexthop add id 77 via 198.18.0.2 dev foreign0 proto 186',
  'nft add table inet foreign',
  "nft add chain inet foreign input '{ type filter hook input priority 0; }'",
  'nft add rule inet foreign input counter accept',
]
