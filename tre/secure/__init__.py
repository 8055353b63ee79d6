"""The secure area: real data, keys, the ledger, decisions. Nothing at the desk or in a sandbox imports from here."""
