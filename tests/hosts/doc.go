// Package hosts tests which hosts each vendor's adapter can be talked into calling, and how.
package hosts
