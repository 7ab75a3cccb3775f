// Package flow is the way from a click on Connect to a stored connection.
//
// A flow is a state machine over a [Flow] record. Each step proves that it is
// taken by the browser that took the one before:
//
//	step                              function  who may                    then
//	POST /api/v1/links                connect   API key                    Link
//	POST /l/{link}                    connect   first browser: claims it   page session
//	POST …/servers/{name}/oauth/…     connect   API key, page session      Flow: started
//	GET  /c/{flow}                    connect   anyone with the URL        our consent page; nothing changes
//	POST /c/{flow}                    connect   first browser: binds it    State minted, Flow: authorizing, on to the provider
//	GET  /mcp/oauth/callback          callback  the bound browser          State taken, code exchanged, set sealed
//	                                                                       Flow: picking, pending, or connected
//	POST /mcp/oauth/places/{flow}     callback  the bound browser          which of several places, or none
//	                                                                       Flow: pending, connected, or denied
//	POST /api/v1/flows/{id}/confirm   connect   the tenant's backend       Flow: connected
//
// [Starter] is everything before the provider and holds no secret; [Finisher]
// is everything after it and holds the vault. What nobody confirms is revoked
// by package refresh.
package flow
