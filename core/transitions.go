package core

import (
	"fmt"
	"slices"
)

// cause is why a grant changes its state.
type cause string

const (
	causeStart   cause = "start"   // an authorization begins, or a client_credentials grant is first asked for
	causeIssue   cause = "issue"   // a token set came: exchange, import, refresh, client credentials
	causeCreate  cause = "create"  // the account was created and its owner has not confirmed
	causeConfirm cause = "confirm" // the account's owner confirmed
	causeDie     cause = "die"     // the refresh token is dead, or taken to be
	causeRevoke  cause = "revoke"  // we end it, or the vendor says that it ended
)

// unborn is the state of a grant that has no record, or only a tombstone.
const unborn State = ""

// transition is one row of the life of a grant.
type transition struct {
	on   cause
	from []State
	to   State
}

// transitions is the whole life of a grant. A pair of state and cause that is not here does not happen.
var transitions = []transition{
	{causeStart, []State{unborn}, Pending},
	{causeIssue, []State{unborn, Pending, Active, AwaitingConfirmation, NeedsReauthorization, Revoked}, Active},
	{causeCreate, []State{unborn, Pending, NeedsReauthorization, Revoked}, AwaitingConfirmation},
	{causeConfirm, []State{AwaitingConfirmation}, Active},
	{causeDie, []State{Active, AwaitingConfirmation}, NeedsReauthorization},
	{causeRevoke, []State{Pending, Active, AwaitingConfirmation, NeedsReauthorization, Revoked}, Revoked},
}

// move changes the state of g. Every change of state goes through here.
func (g *grant) move(on cause) error {
	for _, t := range transitions {
		if t.on == on && slices.Contains(t.from, g.State) {
			moved := &Transition{From: g.State}
			if g.moved != nil {
				moved.From = g.moved.From
			}
			g.State, g.Reason, g.moved = t.to, "", moved
			return nil
		}
	}
	return fmt.Errorf("grant %s: no transition on %q from state %q", g.ID, on, g.State)
}
