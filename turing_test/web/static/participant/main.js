// The participant's page starts here.

import { startSession } from "./session.js";

if (!("broken" in document.documentElement.dataset)) startSession(document.getElementById("study"));
