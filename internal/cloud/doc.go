// Package cloud keeps everything in an AWS account. It is the twin of package
// local: the same file names, the same contracts, the same suites.
//
// The records lie in one DynamoDB table. Parts of a key are separated by "#";
// a "#" or "%" within one is escaped. Each record is one item: its JSON
// document, and beside it the attributes that conditions and lists need. The
// document of a connection is packed: a renewal writes it twice, and a write is
// paid by the kilobyte.
//
//	pk                          sk               what
//	CON#tenant#id               -                a connection; after its end, a tombstone (no doc)
//	CONS#tenant                 created#id       list entry: user_id, server_name, provider_id
//	USER#tenant#user            created#id       the same, of one user
//	HELD#tenant#subject         created#id       the same, with a grant of that account in force or proposed
//	LNK#tenant#id               -                a connect link; deleted: without its doc
//	SES#hash                    -                a page session
//	OWN#tenant#user             link#… ses#…     what DeleteUser removes
//	FLO#id                      -                a flow
//	STA#hash                    -                an OAuth state; taken: without its doc
//	SGN#id                      -                a sign-in; taken: without its doc
//	TCON#tenant#connection      -                a connection's task, and the count of its tasks
//	TASK                        id               whose task that is
//	WARM                        id               a task that waits for a connection; taken: without its doc, for a moment
//	LST#tenant#connection       -                what a connection's server listed, packed
//	MCT#hash                    -                an MCP token; deleted: without its doc
//	MCTID#id                    -                which hash that id has
//	MCTS#tenant#connection      created#id       list entry of an MCP token
//	AUD#tenant#yyyy-mm#shard    at#id            an audit line
//	GRT#tenant#connection       version, a or b  a sealed grant, where grants lie in the table: see tableGrants
//	KEY#hash                    -                an API key
//	KEYS#tenant                 id               list entry of an API key; revoked: stays
//	TEN                         tenant           a tenant; removed: without its doc, for good
//	CLI#tenant                  provider         our registration there, without its secret
//	OAC#hash                    -                an MCP client, by the hash of its id; deleted: without its doc
//	OACS                        id               list entry of an MCP client that was entered
//	OAR#id                      -                an authorization request of one
//	OAG#id                      -                what a person granted one; deleted: without its doc
//	OAGS#tenant#user            created#id       list entry of that
//	OAN#tenant#user             client#resource  that a person allowed a client, by a hash of both
//	OAX#hash                    -                what works once, and was used
//	OAW#window                  -                how many were let in
//	REG#tenant                  issuer           a client that an issuer which was found has made for us
//	GATE#name                   -                whether a provider may be asked now, and how often
//
//	attribute   what
//	doc         the record: JSON, or of a connection packed JSON, see rowFormat
//	access      the sealed access token of a connection
//	rev         its revision: a write is of the revision that was read, or it is none
//	w           the last writes of the item. A request is sent again when its
//	            answer was lost; its condition then fails on its own first copy,
//	            which this tells from somebody else's
//	browser, exp_at   what conditions on links and states compare
//	tenant, exp_at, user_id, proof   the same, of a sign-in: who was confirmed, and
//	            the hash of what takes it
//	due_shard, due_at the index "due": connections that need attention, and when
//	v, f, sealed      a sealed grant, its version and its fence
//	ttl         when DynamoDB may remove the item, seconds since 1970. It only
//	            tidies up: whatever ends earlier than that is compared by us
//
// Every read is strongly consistent but those of the index "due", whose
// reader reads each row again. Reads, and audit lines, that are asked for at the
// same time are one request: see shared. Every condition that a contract promises is a
// condition expression of the write itself.
package cloud
