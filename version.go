package esignd

// Version is the version of this module, a semantic version.
const Version = "0.1.0"
