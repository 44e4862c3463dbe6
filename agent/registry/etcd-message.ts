/**
 * The messages of etcd's API v3 that we send and read: those fields we use, under their numbers in etcd's
 * api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto. They have not changed since 3.4.
 */
import { bytes, flag, id, int, list, message, text } from './etcd-wire.ts'
import type { Message, Partially, Shape } from './etcd-wire.ts'

const responseHeader = {
  clusterId: id(1),
  memberId: id(2),
  /** Of the key space when the member answered. */
  revision: int(3),
  raftTerm: int(4),
}

const keyValue = {
  key: bytes(1),
  createRevision: int(2),
  modRevision: int(3),
  /** Writes since its creation. */
  version: int(4),
  value: bytes(5),
}

const rangeRequest = {
  key: bytes(1),
  /** Exclusive; absent: this key only. */
  rangeEnd: bytes(2),
  limit: int(3),
  /** Absent: the newest. */
  revision: int(4),
  /** Answered by the member alone, which may be behind the others. */
  serializable: flag(7),
  keysOnly: flag(8),
}

const rangeResponse = { header: message(1, responseHeader), kvs: list(2, keyValue), more: flag(3) }

const putRequest = { key: bytes(1), value: bytes(2) }

const compare = {
  /** 0: equal. */
  result: int(1),
  /** 2: the revision that changed the key last; that of a key that is not there is 0. */
  target: int(2),
  key: bytes(3),
  modRevision: int(6),
}
const requestOp = { put: message(2, putRequest) }
/** All of `success` where all of `compare` holds, else nothing. */
const txnRequest = { compare: list(1, compare), success: list(2, requestOp) }
const txnResponse = { header: message(1, responseHeader), succeeded: flag(2) }

const deleteRequest = { key: bytes(1) }
const deleteResponse = { header: message(1, responseHeader), deleted: int(2) }

const authenticateRequest = { name: text(1), password: text(2) }
const authenticateResponse = { header: message(1, responseHeader), token: text(2) }

const watchCreateRequest = {
  key: bytes(1),
  rangeEnd: bytes(2),
  startRevision: int(3),
  /** May split one answer that is longer than the server's request limit into several messages. */
  fragment: flag(8),
}

const watchRequest = { create: message(1, watchCreateRequest), progress: message(3, {}) }

const event = {
  /** 0: put, 1: delete. */
  type: int(1),
  kv: message(2, keyValue),
}

const watchResponse = {
  header: message(1, responseHeader),
  created: flag(3),
  canceled: flag(4),
  /** Of a watch that begins before it: the oldest revision there still is. */
  compactRevision: int(5),
  cancelReason: text(6),
  /** More of the same answer follows. */
  fragment: flag(7),
  events: list(11, event),
}

export type Header = Message<typeof responseHeader>
export type KeyValue = Message<typeof keyValue>
export type WatchRequest = Partially<typeof watchRequest>
export type WatchResponse = Message<typeof watchResponse>

/** A call: where it goes, and what its messages look like. */
export interface Method<Q extends Shape, A extends Shape> {
  readonly path: string
  readonly request: Q
  readonly response: A
}

function method<Q extends Shape, A extends Shape>(path: string, request: Q, response: A): Method<Q, A> {
  return { path: `/etcdserverpb.${path}`, request, response }
}

export const range = method('KV/Range', rangeRequest, rangeResponse)
export const txn = method('KV/Txn', txnRequest, txnResponse)
export const remove = method('KV/DeleteRange', deleteRequest, deleteResponse)
export const watch = method('Watch/Watch', watchRequest, watchResponse)
export const authenticate = method('Auth/Authenticate', authenticateRequest, authenticateResponse)
