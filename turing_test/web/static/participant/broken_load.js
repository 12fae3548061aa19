// A style or a script of the page may break off on a bad line, and then nothing would ever happen, or images would lie
// anywhere. Runs before the modules do, and stands before the styles.
(function () {
  var WAIT = 2000; // ms
  addEventListener(
    "error",
    function (event) {
      var failed = event.target;
      var isNeeded = failed instanceof HTMLScriptElement || (failed instanceof HTMLLinkElement && failed.rel === "stylesheet");
      if (isNeeded) setTimeout(function () { location.reload(); }, WAIT);
    },
    true, // errors of loading do not bubble
  );
})();
