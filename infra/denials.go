package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"
)

// Records of the table, by what their partition keys begin with: package cloud
// lists all of them.
const (
	apiKeys      = "KEY*" // by hash, and KEYS#, the lists of tenants
	tenants      = "TEN*"
	clients      = "CLI*"
	auditLines   = "AUD#*"
	sealedGrants = "GRT#*"
	gates        = "GATE#*"
	mcpClients   = "OAC*" // OAC#, and OACS, the list of those that were entered
	requests     = "OAR#*"
	granted      = "OAG*" // OAG#, and OAGS#, the lists of users
	consents     = "OAN#*"
	spent        = "OAX#*"
	admitted     = "OAW#*"
	catalogues   = "LST#*"
	flows        = "FLO#*"
	registered   = "REG#*"
)

// How the functions write to the table, and read it. A part of a transaction
// needs the right of the same single action.
var (
	tableWrites = list{"dynamodb:PutItem", "dynamodb:PartiQLInsert", "dynamodb:DeleteItem"}
	tableReads  = list{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:ConditionCheckItem"}
)

// withhold denies a function those records that are none of its business: who
// takes over one that faces the internet must not make API keys, add return
// URLs to a tenant, put another OAuth client in place of ours, or tidy up
// behind them in the audit. Nobody is denied what their code does, as package
// wire joins it:
//
//   - API keys: whatever serves the API looks them up, mcprun included. Only
//     refresh adds one, the first; others are made, rotated and revoked by the
//     operator's commands, with the operator's own rights.
//   - Tenants and clients: they are read on the way to a provider and back. Only
//     the operator writes them.
//   - Audit lines: the vault appends them, which callback and refresh have.
//     connect lists them. Nobody removes one but DynamoDB, when its time has
//     come. Whoever may append one could replace one, too: IAM does not know the
//     condition of a put. Point-in-time recovery has the line that was there.
//   - Sealed grants: the vault alone reads, writes and removes them.
//   - Catalogues: mcprun alone writes and reads them, and refresh removes them with
//     their connection. What is in one, models read.
//   - Registered clients: connect alone writes them, and reads them. With another's
//     in their place a person would be sent to a provider for somebody else.
//   - Gates: refresh alone writes them. Whoever could close one would keep
//     everybody's tokens from being renewed.
//   - MCP clients and how they sign in: connect is the authorization server. mcprun
//     and refresh end what was granted, and what was consented to with it; the
//     others read what was granted, or nothing.
func (v *Service) withhold(name string) statements {
	switch name {
	case connect:
		return statements{
			v.denyItems("NotItsToWrite", tableWrites, apiKeys, tenants, clients, auditLines, sealedGrants, gates, catalogues),
			v.denyItems("NotItsToRead", tableReads, sealedGrants, catalogues),
		}
	case mcprun:
		return statements{
			v.denyItems("NotItsToWrite", tableWrites, apiKeys, tenants, clients, auditLines, sealedGrants, gates, registered, mcpClients, requests, spent, admitted),
			v.denyItems("NotItsToRead", tableReads, sealedGrants, mcpClients, requests),
		}
	case callback:
		return statements{
			v.denyItems("NotItsToWrite", tableWrites, apiKeys, tenants, clients, gates, catalogues, registered, mcpClients, requests, granted, consents, spent, admitted),
			v.denyItems("NotItsToRead", tableReads, catalogues, mcpClients, requests, granted, consents),
			v.denyItems("NotItsToRemove", list{"dynamodb:DeleteItem"}, auditLines),
		}
	case refresh:
		return statements{
			v.denyItems("NotItsToWrite", tableWrites, tenants, clients, registered, mcpClients, requests, spent, admitted),
			v.denyItems("NotItsToRemove", list{"dynamodb:DeleteItem"}, auditLines),
		}
	}
	// The authorizer writes nothing at all, and mcpremote begins flows alone: it is
	// not granted more.
	return statements{v.denyItems("NotItsToRead", tableReads, sealedGrants, catalogues, mcpClients, requests, consents)}
}

// denyItems denies actions on the items whose partition key is like one of keys,
// and with them every request that names such an item among others.
func (v *Service) denyItems(sid string, actions list, keys ...string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: jsii.String(sid), Effect: awsiam.Effect_DENY,
		Actions: jsii.Strings(actions...), Resources: jsii.Strings(v.tableARN()),
		Conditions: &map[string]any{"ForAnyValue:StringLike": map[string]any{"dynamodb:LeadingKeys": keys}},
	})
}
