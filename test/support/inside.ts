/** Runs the test file that LINKSPAN_TEST_FILE names in namespaces of its own, and loads nothing of it here. */
import path from 'node:path'
import { runInside } from './namespace.ts'

process.exitCode = runInside(path.resolve(process.env['LINKSPAN_TEST_FILE'] ?? ''), process.env)
