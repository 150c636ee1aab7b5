"""The providers of interpreters: one plain module each, all of the shape of :class:`.base.Provider`."""
