"""JupyterHub beside a secure area of `tre`: who people are is the Hub's to say, what they may is the area's.

docs/how-to/jupyterhub.md explains it, line by line; tests/hub start a Hub from this very file. Change what is marked (*).
"""

import os

c = get_config()  # noqa: F821  # the Hub puts it here

# (*) Where the gateway is, as servers reach it, and what this Hub calls it: area.yaml has the same name.
GATEWAY = os.environ.get("TRE_GATEWAY", "https://tre.example.org")
SERVICE = "tre-gateway"

# What a token may do at the gateway. Scopes of more than one role in one token are refused there.
c.JupyterHub.custom_scopes = {
    "custom:tre:jobs:submit": {"description": "tre: submit notebooks, read one's own jobs (researchers)"},
    "custom:tre:outputs:read": {"description": "tre: see what waits for review (output checkers)"},
    "custom:tre:outputs:review": {
        "description": "tre: decide on what waits for review (output checkers)",
        "subscopes": ["custom:tre:outputs:read"],
    },
    "custom:tre:audit:read": {"description": "tre: see budgets and notices (admins)"},
    "custom:tre:budget:set": {
        "description": "tre: revoke releases, and sign in to the pages of admins",
        "subscopes": ["custom:tre:audit:read"],
    },
}

# (*) Who is in which role: one person, one group. people.yaml of the area says the same, and both must.
c.JupyterHub.load_groups = {
    "tre-researchers": {"users": ["ada.moreno"]},
    "tre-checkers": {"users": ["bo.lindqvist", "cy.okafor"]},
    "tre-admins": {"users": ["dee.whitfield"]},
}
HERE = f"access:services!service={SERVICE}"
c.JupyterHub.load_roles = [
    {"name": "tre-researcher", "groups": ["tre-researchers"], "scopes": [HERE, "custom:tre:jobs:submit"]},
    {"name": "tre-checker", "groups": ["tre-checkers"], "scopes": [HERE, "custom:tre:outputs:review"]},
    {"name": "tre-admin", "groups": ["tre-admins"], "scopes": [HERE, "custom:tre:budget:set"]},
]
# The gateway by name, so that tokens can be for it. Not proxied: it has an address of its own, as notebooks must not
# share an origin with the pages on which people decide.
service = {"name": SERVICE, "display": False}
# With a secret of its own, which settings.yaml of the area has too, people sign in to those pages by this Hub.
if os.environ.get("TRE_HUB_SECRET"):
    service |= {
        "api_token": os.environ["TRE_HUB_SECRET"],
        "oauth_redirect_uri": f"{GATEWAY}/review/hub/back",
        "oauth_client_allowed_scopes": ["custom:tre:outputs:review", "custom:tre:budget:set"],
        "oauth_no_confirm": True,
    }
c.JupyterHub.services = [service]

# What a server's token may do, and so any code in its kernels: submit, and nothing else, whoever's server it is.
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", HERE, "custom:tre:jobs:submit"]
# With it, `tre` in a notebook knows its gateway; the token is the server's own.
c.Spawner.environment = {"TRE_URL": GATEWAY}

# (*) Signing in by OpenID Connect (package oauthenticator). Names are those above, and in people.yaml as `hub`: the claim must
# be one that nobody can change for themselves, and that is never given to another person later. Many providers let people
# choose `preferred_username`; if yours does, take "sub".
c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.client_id = os.environ.get("OIDC_CLIENT", "")
c.GenericOAuthenticator.client_secret = os.environ.get("OIDC_SECRET", "")
c.GenericOAuthenticator.authorize_url = os.environ.get("OIDC_AUTHORIZE", "")
c.GenericOAuthenticator.token_url = os.environ.get("OIDC_TOKEN", "")
c.GenericOAuthenticator.userdata_url = os.environ.get("OIDC_USERDATA", "")
c.GenericOAuthenticator.scope = ["openid", "profile"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.Authenticator.allowed_users = {name for group in c.JupyterHub.load_groups.values() for name in group["users"]}
# A Hub's admin can become anybody on it, an output checker too: nobody of the groups above is one.
c.Authenticator.admin_users = set()

# (*) Servers of people have host names of their own, so that what a notebook shows cannot act on the Hub as whoever looks
# at it. Needs a wildcard name and certificate: https://jupyter.example.org, https://*.jupyter.example.org
c.JupyterHub.subdomain_host = os.environ.get("TRE_HUB_HOST", "")

# Not without TLS: tokens are in every request.
c.JupyterHub.ssl_cert = os.environ.get("TLS_CERT", "")
c.JupyterHub.ssl_key = os.environ.get("TLS_KEY", "")
