package core

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"
)

func grantOf(id string, revision uint64) *grant {
	return &grant{ID: id, State: Active, Generation: 1, Consent: "c", Lifetime: time.Hour, revision: revision,
		tokens: tokens{Access: NewSecret("a-" + id), Refresh: NewSecret("r-" + id)}}
}

func TestShelfKeepsSoManyWholeAndTheRestBriefly(t *testing.T) {
	s := newShelf(time.Now(), maphash.MakeSeed(), 3)
	for i := range 10 {
		s.put(grantOf(fmt.Sprint(i), uint64(i+1)), 0, time.Now(), true)
		if e := s.get("0"); e == nil || e.g.tokens.Access.Reveal() != "a-0" {
			t.Fatal("a grant that is asked for all the time is not here whole")
		}
	}
	whole := 0
	for i := range 10 {
		id := fmt.Sprint(i)
		if s.get(id) != nil {
			whole++
		}
		e := s.look(id)
		if e == nil || e.g.revision != uint64(i+1) || e.left() <= 0 {
			t.Errorf("grant %s is not known: %+v", id, e)
		}
	}
	if whole != 3 {
		t.Errorf("%d grants are here whole", whole)
	}
}

func TestShelfWithoutRoomKeepsNothingThatWasNotAskedFor(t *testing.T) {
	s := newShelf(time.Now(), maphash.MakeSeed(), 1)
	s.put(grantOf("first", 1), 0, time.Now(), false)
	s.put(grantOf("second", 2), 0, time.Now(), false)
	if s.get("first") == nil || s.get("second") != nil || s.look("second") == nil {
		t.Error("the second has taken the place of the first, or is not known")
	}
	s.drop("first", 1)
	if s.look("first") != nil {
		t.Error("a grant that was dropped is known")
	}
	if s.put(grantOf("third", 3), 0, time.Now(), true); s.get("third") == nil {
		t.Error("the place of one that was dropped is not used")
	}
}

// What is known of a token's age is the first measure of it, whether the grant was whole in memory in between or not.
func TestShelfMeasuresATokenOnce(t *testing.T) {
	for _, whole := range []int{0, 1} {
		s := newShelf(time.Now(), maphash.MakeSeed(), whole)
		seen := time.Now().Add(-10 * time.Minute)
		s.put(grantOf("g", 1), time.Minute, seen, true)
		if age := s.put(grantOf("g", 1), 0, time.Now(), true).ageNow(); age < 11*time.Minute {
			t.Errorf("%d whole: the same revision is %s old", whole, age)
		}
		if age := s.put(grantOf("g", 2), 0, time.Now(), true).ageNow(); age < 11*time.Minute {
			t.Errorf("%d whole: the same token, written anew, is %s old", whole, age)
		}
		other := grantOf("g", 3)
		other.Consent = "d"
		if age := s.put(other, 0, time.Now(), true).ageNow(); age > time.Minute {
			t.Errorf("%d whole: the token of a new consent is %s old", whole, age)
		}
		if e := s.put(grantOf("g", 2), 0, time.Now(), true); e.g.revision != 3 || e.g.brief != (whole == 0) {
			t.Errorf("%d whole: an older revision gets revision %d, brief %t", whole, e.g.revision, e.g.brief)
		}
	}
}
