// Package hostile attacks a whole daemon with plugins that mean harm, all at once, and looks at what becomes of the others:
// their tokens, their secrets, and the daemon itself. The attacks are those of plugins/internal/hostile.
package hostile
