/** A kernel of which some calls go elsewhere: all others are handed on as they are. */
import type { Kernel } from '../kernel/port.ts'

export function covered(kernel: Kernel, instead: Partial<Kernel>): Kernel {
  return {
    facts: (routesOf, signal) => kernel.facts(routesOf, signal),
    observe: (wanted, signal) => kernel.observe(wanted, signal),
    apply: (ops, signal) => kernel.apply(ops, signal),
    carried: (signal) => kernel.carried(signal),
    firewallUnchanged: (signal) => kernel.firewallUnchanged(signal),
    changes: (signal) => kernel.changes(signal),
    close: () => kernel.close(),
    ...instead,
  }
}
