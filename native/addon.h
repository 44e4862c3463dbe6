/*
 * What addon.c, subscription.c and probe-addon.c share.
 */
#ifndef LINKSPAN_ADDON_H
#define LINKSPAN_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stddef.h>

/* Throws an Error with the errno's text; NULL. */
napi_value ls_throw_errno(napi_env env, int error);

/* The bytes of a Uint8Array argument; false where it is something else. */
bool ls_bytes_of(napi_env env, napi_value value, void **bytes, size_t *length);

napi_value ls_addon_subscribe(napi_env env, napi_callback_info info);
napi_value ls_addon_unsubscribe(napi_env env, napi_callback_info info);

/* Adds the functions of the probe engine. */
void ls_addon_probe(napi_env env, napi_value exports);

#endif
