// The participant's page starts here.

import { startSession } from "./session.js";

startSession(document.getElementById("study"));
