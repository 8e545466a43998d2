// Takes code, state and whatever else the vendor sent out of the address bar and the history.
if (!location.pathname.endsWith("/connect/done")) history.replaceState(null, "", location.pathname);
