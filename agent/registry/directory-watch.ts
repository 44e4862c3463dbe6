/**
 * inotify on a registry directory: the directory itself and its folders. It tells, too, when it is moved or deleted; its
 * parent is watched only while it is missing, or where it is a symbolic link, which may turn to another: a parent may be
 * busy with other things, and none of them should wake us. Events are hints: a name to read again, or a reason to walk. A
 * watch that cannot be set is no error, since the periodic walk sees the same a little later.
 */
import { lstatSync, statSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isDocumentName } from './directory.ts'

/** What happened since it was last asked. */
export class ChangeSignal {
  #files = new Set<string>()
  #walk = false
  #wake: (() => void) | undefined
  readonly #signal: AbortSignal

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  file(path: string): void {
    this.#files.add(path)
    this.#wake?.()
  }

  walk(): void {
    this.#walk = true
    this.#wake?.()
  }

  take(): { files: ReadonlySet<string>; walk: boolean } {
    const taken = { files: this.#files, walk: this.#walk }
    this.#files = new Set()
    this.#walk = false
    return taken
  }

  /** Until something happens, at most so long; at once where something has. */
  async wait(mostMs: number): Promise<void> {
    if (this.#files.size === 0 && !this.#walk) await this.#pause(mostMs, true)
  }

  /** Lets a burst of events end. */
  async settle(ms: number): Promise<void> {
    if (this.#files.size > 0 || this.#walk) await this.#pause(ms, false)
  }

  #pause(ms: number, wakeful: boolean): Promise<void> {
    if (this.#signal.aborted || ms <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#signal.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      // setTimeout takes at most 2^31 - 1 ms.
      const timer = setTimeout(done, Math.min(ms, 0x7fff_ffff))
      this.#signal.addEventListener('abort', done, { once: true })
      if (wakeful) this.#wake = done
    })
  }
}

export class DirectoryWatch {
  readonly #directory: string
  readonly #folders: readonly string[]
  readonly #changes: ChangeSignal
  readonly #watchers = new Map<string, { watcher: FSWatcher; inode: string }>()

  #closed = false

  constructor(directory: string, folders: readonly string[], changes: ChangeSignal) {
    this.#directory = directory
    this.#folders = folders
    this.#changes = changes
  }

  /** Sets the watches that are missing, and those whose directory is another one now. */
  renew(): void {
    if (this.#closed) return
    const name = basename(this.#directory)
    const parent = dirname(this.#directory)
    // Before the directory is looked for, so that it does not come unseen in between.
    this.#keep(parent, (changed) => {
      if (changed === name) this.#changes.walk()
    })
    this.#keep(this.#directory, (changed) => {
      if (changed === 'fabric.jws') this.#changes.file(join(this.#directory, changed))
      else if (changed === null || changed === name) this.#lose(this.#directory)
      else if (this.#folders.includes(changed)) this.#changes.walk()
    })
    if (this.#watchers.has(this.#directory) && !isLink(this.#directory)) this.#drop(parent)
    for (const folder of this.#folders) {
      const path = join(this.#directory, folder)
      this.#keep(path, (changed) => {
        if (changed === null || changed === folder) this.#lose(path)
        else if (isDocumentName(changed)) this.#changes.file(join(path, changed))
      })
    }
  }

  /** Directories that are watched now. */
  get watched(): readonly string[] {
    return [...this.#watchers.keys()]
  }

  close(): void {
    this.#closed = true
    for (const { watcher } of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  #keep(path: string, changed: (name: string | null) => void): void {
    const inode = inodeOf(path)
    const kept = this.#watchers.get(path)
    if (kept !== undefined && kept.inode === inode) return
    this.#drop(path)
    if (inode === undefined) return
    let watcher: FSWatcher
    try {
      watcher = watch(path, { persistent: true }, (_event, name) => {
        changed(name)
      })
    } catch {
      return // no inotify watch to be had (limit, file system): the walk sees it
    }
    watcher.on('error', () => {
      this.#lose(path)
    })
    this.#watchers.set(path, { watcher, inode })
  }

  /** A directory that is itself moved or deleted reports its own name. Another may come with its inode number. */
  #lose(path: string): void {
    this.#drop(path)
    this.#changes.walk()
  }

  #drop(path: string): void {
    this.#watchers.get(path)?.watcher.close()
    this.#watchers.delete(path)
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink()
  } catch {
    return false
  }
}

/** Undefined where there is no directory that one can look at. */
function inodeOf(path: string): string | undefined {
  try {
    const stats = statSync(path)
    return stats.isDirectory() ? `${stats.dev} ${stats.ino}` : undefined
  } catch {
    return undefined // not there, a file on the way, a link that leads to itself: reading it will say
  }
}
